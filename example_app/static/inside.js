import {
  BasicChallengeHandler, connect, describeClose, fetch, forgetCredentials, loginDialog, TokenChallengeHandler,
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

let chat = null;

function enter() {
  chat = connect("/inside/chat", { challengeHandler: asked, onExchange: exchange("/inside/chat") });
  chat.onmessage = ({ data }) => {
    $("log").textContent += `${data}\n`;
    $("log").scrollTop = $("log").scrollHeight;
  };
  chat.onopen = () => { $("leave").hidden = false; };
  chat.onclose = (event) => {
    $("log").textContent += `${describeClose(event, { 1005: "You left." })}\n`;
    $("leave").hidden = true;
    chat = null;
  };
  return chat;
}

$("chat").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = new FormData(event.target).get("text");
  if (chat?.readyState === WebSocket.CONNECTING) return;
  if (chat) chat.send(text);
  else enter().addEventListener("open", () => chat.send(text));
  event.target.reset();
});
$("leave").addEventListener("click", () => chat?.close());

$("who").addEventListener("submit", async (event) => {
  event.preventDefault();
  const url = "/page/api/who";
  const response = await fetch(url, { challengeHandler: asked, onExchange: exchange(url) });
  const refused = describeClose({ code: 4000 + response.status });
  $("who-result").textContent = response.ok ? (await response.json()).because : refused;
});
$("forget").addEventListener("click", () => {
  forgetCredentials(asked);
  $("who-result").textContent = "Forgotten. The next login asks again.";
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
  socket.onclose = (event) => {
    if (event.code !== 1000 && event.code !== 1005) $("token-result").textContent = describeClose(event);
  };
});
