// URLs of the service, relative to this file's own, also below a prefix that a proxy strips.
export const locate = (path) => new URL(`../${path}`, import.meta.url);
