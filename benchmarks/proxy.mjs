// sandbox-runtime's own proxy, which lets one host through. Prints its port.
import { createHttpProxyServer } from "@anthropic-ai/sandbox-runtime/dist/sandbox/http-proxy.js";

const server = createHttpProxyServer({ filter: (port, host) => host === "localhost" });
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit(0));
