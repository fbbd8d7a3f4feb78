import {
  BasicChallengeHandler, connect, fetch, loginDialog, TokenChallengeHandler,
} from "/asgi-gateway-client.js";

const $ = (id) => document.getElementById(id);
const asked = new BasicChallengeHandler(loginDialog());

function exchange(where) {
  const words = {
    challenge: ({ scheme, realm, handler }) => [
      `Challenge: ${scheme}`,
      `${realm ? `realm “${realm}”; ` : ""}${handler ? `asks ${handler}` : "no handler for it"}`,
    ],
    answer: ({ scheme }) => ["Answer", `credentials for ${scheme}`],
    outcome: ({ status }) => [status ? `Outcome: ${status}` : "Outcome: no answer", where],
  };
  return (step) => {
    const item = $("step").content.cloneNode(true).firstElementChild;
    [item.children[0].textContent, item.children[1].textContent] = words[step.step](step);
    if (step.step === "outcome") item.className = step.status && step.status < 300 ? "good" : "bad";
    $("nothing").hidden = true;
    $("exchange").append(item);
    const panel = $("exchange").parentElement;
    panel.scrollTop = panel.scrollHeight;
  };
}

let room = null;

function enter() {
  room = connect("/inside/chat", { challengeHandler: asked, onExchange: exchange("/inside/chat") });
  room.onmessage = ({ data }) => {
    $("log").textContent += `${data}\n`;
    $("log").scrollTop = $("log").scrollHeight;
  };
  room.onopen = () => { $("leave").hidden = false; };
  room.onclose = ({ code }) => {
    $("log").textContent += `closed: ${code}\n`;
    $("leave").hidden = true;
    room = null;
  };
  return room;
}

$("chat").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = new FormData(event.target).get("text");
  if (room?.readyState === WebSocket.CONNECTING) return;
  if (room) room.send(text);
  else enter().addEventListener("open", () => room.send(text));
  event.target.reset();
});
$("leave").addEventListener("click", () => room?.close());

$("who").addEventListener("submit", async (event) => {
  event.preventDefault();
  const url = "/page/api/who";
  const response = await fetch(url, { challengeHandler: asked, onExchange: exchange(url) });
  $("who-result").textContent = response.ok ? (await response.json()).because : `refused: ${response.status}`;
});

$("token").addEventListener("submit", (event) => {
  event.preventDefault();
  const tickets = new TokenChallengeHandler(async () => {
    const url = "/page/api/ticket";
    const response = await fetch(url, { method: "POST", challengeHandler: asked, onExchange: exchange(url) });
    return response.ok ? (await response.json()).ticket : null;
  });
  const socket = connect("/ticket/echo", { challengeHandler: tickets, onExchange: exchange("/ticket/echo") });
  socket.onopen = () => socket.send("hello");
  socket.onmessage = ({ data }) => {
    $("token-result").textContent = data;
    socket.close();
  };
  socket.onclose = ({ code }) => {
    if (code !== 1000 && code !== 1005) $("token-result").textContent = `closed: ${code}`;
  };
});
