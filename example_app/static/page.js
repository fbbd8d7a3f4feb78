// What a page does with Application Basic and with tickets. No library, no build step.

const show = (id, text) => { document.getElementById(id).textContent = text; };
let authorization = null;

function basic(user, password) {
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  return "Basic " + btoa(String.fromCharCode(...bytes));
}

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const credentials = basic(form.get("user"), form.get("password"));
  const response = await fetch("/page/api/who", { headers: { Authorization: credentials } });
  if (!response.ok) {
    authorization = null;
    const challenge = response.headers.get("WWW-Authenticate") ?? "none";
    show("login-result", `The user name or the password was wrong.\n${response.status}, challenge: ${challenge}`);
    return;
  }
  authorization = credentials;
  show("login-result", JSON.stringify(await response.json(), null, 2));
});

async function whoseSession(headers = {}) {
  const response = await fetch("/session/who", { headers });
  show("session-result", response.ok ? JSON.stringify(await response.json(), null, 2) : `${response.status}: log in`);
}

document.getElementById("session").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  await whoseSession({ Authorization: basic(form.get("user"), form.get("password")) });
  event.target.reset();  // the browser's cookie does from here on
});

document.getElementById("session-who").addEventListener("click", () => whoseSession());

document.getElementById("session-end").addEventListener("click", async () => {
  const response = await fetch("/session/;o", { method: "POST" });
  show("session-result", response.ok ? "logged out" : `${response.status}: not logged out`);
});

document.getElementById("echo").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!authorization) {
    show("echo-result", "Log in first.");
    return;
  }
  const text = new FormData(event.target).get("text");
  const response = await fetch("/page/api/ticket", { method: "POST", headers: { Authorization: authorization } });
  if (!response.ok) {
    show("echo-result", `no ticket: ${response.status}`);
    return;
  }
  const { ticket } = await response.json();
  const url = new URL(`/ticket/echo?ticket=${encodeURIComponent(ticket)}`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url);
  socket.onopen = () => socket.send(text);
  socket.onmessage = (message) => { show("echo-result", message.data); socket.close(); };
  socket.onerror = () => show("echo-result", "refused");
});
