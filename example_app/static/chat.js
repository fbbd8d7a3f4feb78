import { describeClose } from "/asgi-gateway-client.js";

const url = new URL("/chat/socket", location.href);
url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
const log = document.getElementById("log");
const socket = new WebSocket(url);
socket.onmessage = (message) => { log.textContent += message.data + "\n"; };
socket.onclose = (event) => { log.textContent += `${describeClose(event)}\n`; };
document.getElementById("say").addEventListener("submit", (event) => {
  event.preventDefault();
  socket.send(new FormData(event.target).get("text"));
  event.target.reset();
});
