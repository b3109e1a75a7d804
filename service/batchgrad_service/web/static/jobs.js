import { atMostEvery, refresh } from "./live.js";

const SECONDS = 1.5;
const update = atMostEvery(SECONDS * 1000, refresh);
setInterval(() => { if (!document.hidden) update(); }, SECONDS * 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });
