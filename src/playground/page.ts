/** The page: five sections, each with a worker of its own that starts when it is wanted. */
import { byId, whenNear } from "./dom.ts";
import { showGateway } from "./gateway.ts";
import { showLab } from "./lab.ts";
import { showRouter } from "./router.ts";
import { showTabs } from "./tabs.ts";
import { showTcp } from "./tcp.ts";

showTcp();
showLab();
showGateway();
showTabs();
// A megabyte of tables: fetched when somebody comes near.
whenNear(byId("router"), showRouter);
