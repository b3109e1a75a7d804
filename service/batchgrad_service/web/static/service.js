// Where the service is: this file's own address says so, also below a prefix that a proxy strips.
export const locate = (path) => new URL(`../${path}`, import.meta.url);
