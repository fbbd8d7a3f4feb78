/**
 * The gateway's client for browsers: challenge handlers, login handlers, WebSockets that log in, and fetch.
 *
 * A browser's WebSocket can neither set headers nor see a 401. connect() therefore holds the HTTP exchange inside the
 * socket (the subprotocol x-kaazing-handshake) and gives the page a socket that opens only when the login is through.
 * No dependencies. Types stand in asgi-gateway-client.d.ts.
 */

const MARKER = [0xef, 0x83, 0xbf]; // U+F0FF; "N" after it: no redirect
const PROTOCOL = "x-kaazing-handshake";
const STRENGTH = { negotiate: 3, token: 2, basic: 0 };
const PORTS = { http: "80", ws: "80", https: "443", wss: "443" };
const MAX_RESPONSE = 128 * 1024;

// ------------------------------------------------------------------------------------------------------- challenges

const NAME = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const WORD = /[!#$%&'*+\-.^_`|~0-9A-Za-z/]+=*(?=[ \t,]|$)/y;
const VALUE = `(?:([!#$%&'*+\\-.^_\`|~0-9A-Za-z]+)|"((?:[\\t !#-\\[\\]-~\\x80-\\xff]|\\\\[\\t -~\\x80-\\xff])*)")(?=[ \\t,]|$)`;
const PARAMETER = new RegExp(`([!#$%&'*+\\-.^_\`|~0-9A-Za-z]+)[ \\t]*=[ \\t]*${VALUE}`, "y");
const TIGHT_PARAMETER = new RegExp(`([!#$%&'*+\\-.^_\`|~0-9A-Za-z]+)=${VALUE}`, "y");
const SEPARATORS = /[ \t,]*/y;

function take(pattern, text, position) {
  pattern.lastIndex = position;
  return pattern.exec(text);
}

/** Reads the value of WWW-Authenticate (RFC 9110 section 11.6.1); throws a SyntaxError if it is malformed. */
export function parseChallenges(text) {
  if (text.length > 64 * 1024) throw new SyntaxError("WWW-Authenticate is too long");
  const found = [];
  let position = take(SEPARATORS, text, 0)[0].length;
  const scheme = () => {
    const match = take(NAME, text, position);
    if (!match || !/^[ \t,]?$/.test(text.charAt(position + match[0].length))) {
      throw new SyntaxError(`WWW-Authenticate is malformed at character ${position + 1}`);
    }
    position += match[0].length;
    return match[0].toLowerCase();
  };
  while (position < text.length) {
    const challenge = { scheme: scheme(), words: [], parameters: {}, application: false };
    found.push(challenge);
    const prefix = challenge.scheme === "application" && /^[ \t]+[^ \t,=]+(?=[ \t,]|$)/.exec(text.slice(position));
    if (prefix) {
      position += /^[ \t]+/.exec(prefix[0])[0].length;
      Object.assign(challenge, { scheme: scheme(), application: true });
    }
    while (position < text.length) {
      const between = take(SEPARATORS, text, position)[0];
      position += between.length;
      const parameter = take(challenge.application ? TIGHT_PARAMETER : PARAMETER, text, position);
      if (parameter) {
        const name = parameter[1].toLowerCase();
        if (Object.hasOwn(challenge.parameters, name)) throw new SyntaxError("WWW-Authenticate names a parameter twice");
        challenge.parameters[name] = parameter[2] ?? parameter[3].replace(/\\(.)/gs, "$1");
        position += parameter[0].length;
      } else if (between.includes(",") || position === text.length) {
        break;
      } else {
        const word = take(WORD, text, position);
        if (!word) throw new SyntaxError(`WWW-Authenticate is malformed at character ${position + 1}`);
        challenge.words.push(word[0]);
        position += word[0].length;
      }
    }
  }
  return found;
}

/** One challenge, where it came from, how often it has been met in this attempt, and a signal that it is moot. */
export class ChallengeRequest {
  constructor(location, challenge, attempt = 1, signal = null) {
    const parsed = typeof challenge === "string" ? parseChallenges(challenge) : [challenge];
    if (parsed.length !== 1) throw new SyntaxError("a challenge request carries exactly one challenge");
    Object.assign(this, { location, attempt, signal, realm: "", ...parsed[0] });
    this.realm = this.parameters.realm ?? "";
  }
}

/** Credentials for the Authorization header, and who answers the next challenge. */
export class ChallengeResponse {
  #credentials;
  constructor(credentials, nextHandler = null) {
    if (!/^[ -~]+$/.test(credentials)) throw new TypeError("credentials for a header are printable ASCII");
    this.#credentials = credentials;
    this.nextHandler = nextHandler;
  }
  get credentials() {
    return this.#credentials;
  }
  clearCredentials() {
    this.#credentials = "";
  }
}

/** A user name and a password that can be cleared and does not show when it is logged or turned into JSON. */
export class PasswordAuthentication {
  #password;
  constructor(username, password) {
    this.username = username;
    this.#password = password;
  }
  get password() {
    return this.#password;
  }
  clear() {
    this.#password = "";
  }
}

/** Answers challenges; derive from it and define canHandle(request) and handle(request). */
export class ChallengeHandler {
  canHandle(_request) {
    return false;
  }
  async handle(_request) {
    return null;
  }
}

function confidential(location) {
  const url = new URL(location);
  const host = url.hostname;
  const here = host === "localhost" || host.endsWith(".localhost") || /^127\.\d+\.\d+\.\d+$/.test(host) || host === "[::1]";
  return /^(https|wss):$/.test(url.protocol) || here;
}

/** Answers Basic and Application Basic with what a login handler gives. */
export class BasicChallengeHandler extends ChallengeHandler {
  #general;
  #realms = new Map();
  #plain;
  constructor(login = null, { allowPlainHttp = false } = {}) {
    super();
    this.#general = login;
    this.#plain = allowPlainHttp;
  }
  setRealmLoginHandler(realm, login) {
    if (login) this.#realms.set(realm, login);
    else this.#realms.delete(realm);
    return this;
  }
  #login(realm) {
    return this.#realms.get(realm) ?? this.#general;
  }
  canHandle(request) {
    const suitable = request.scheme === "basic" && Boolean(this.#login(request.realm));
    return suitable && (this.#plain || confidential(request.location));
  }
  async handle(request) {
    const login = await this.#login(request.realm)(request);
    if (!login) return null;
    try {
      const pair = `${login.username}:${login.password}`;
      // eslint-disable-next-line no-control-regex
      if (login.username.includes(":") || /[\x00-\x1f\x7f]/.test(pair)) {
        throw new TypeError("a user name with a colon, or a control character, does not fit into Basic");
      }
      return new ChallengeResponse("Basic " + btoa(String.fromCharCode(...new TextEncoder().encode(pair))));
    } finally {
      login.clear?.();
    }
  }
}

/** Answers Application Token with what a function of the challenge returns. */
export class TokenChallengeHandler extends ChallengeHandler {
  #source;
  #plain;
  constructor(source, { allowPlainHttp = false } = {}) {
    super();
    this.#source = source;
    this.#plain = allowPlainHttp;
  }
  canHandle(request) {
    return request.scheme === "token" && (this.#plain || confidential(request.location));
  }
  async handle(request) {
    const token = await this.#source(request);
    return token ? new ChallengeResponse(`Token ${token}`) : null;
  }
}

/** Passes challenges to the handlers of the most specific location that matches; "*" stands for any part. */
export class DispatchChallengeHandler extends ChallengeHandler {
  #entries = new Map();
  register(location, handler) {
    const parts = locationParts(location);
    const key = JSON.stringify(parts);
    if (!this.#entries.has(key)) this.#entries.set(key, { parts, handlers: [] });
    this.#entries.get(key).handlers.push(handler);
    return this;
  }
  unregister(location, handler) {
    const key = JSON.stringify(locationParts(location));
    const entry = this.#entries.get(key);
    const index = entry ? entry.handlers.indexOf(handler) : -1;
    if (index >= 0) entry.handlers.splice(index, 1);
    if (entry?.handlers.length === 0) this.#entries.delete(key);
    return this;
  }
  lookup(location) {
    const parts = locationParts(location);
    const rank = ({ parts: each }) => each.flat().length * 1000 - each.flat().filter((text) => text === "*").length;
    let best = null;
    for (const entry of this.#entries.values()) {
      const matches = entry.parts.every((part, kind) => partMatches(part, parts[kind], kind >= 2));
      if (matches && (!best || rank(entry) > rank(best))) best = entry;
    }
    return best ? [...best.handlers] : [];
  }
  #choose(request) {
    return this.lookup(request.location).find((handler) => handler.canHandle(request));
  }
  canHandle(request) {
    return Boolean(this.#choose(request));
  }
  async handle(request) {
    return (await this.#choose(request)?.handle(request)) ?? null;
  }
}

/** A location's host labels from the right, port, user and password, and path segments. */
function locationParts(location) {
  const [, scheme = "http", rest] = /^(?:([^:/?#]*):\/\/)?([^?#]*)/.exec(location);
  const [, authority, path] = /^([^/]*)(.*)$/.exec(rest);
  const at = authority.lastIndexOf("@");
  const [, host, port] = /^(\[[^\]]*\]|[^:]*):?(.*)$/.exec(authority.slice(at + 1));
  if (!host) throw new TypeError("a location needs a host");
  const labels = host.startsWith("[") ? [host] : host.toLowerCase().split(".").reverse();
  const user = at < 0 ? [] : [...authority.slice(0, at).split(/:(.*)/s, 2)];
  const segments = path.replace(/^\/|\/+$/g, "");
  const decode = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  };
  const given = port || PORTS[scheme.toLowerCase()] || "";
  return [labels, given ? [given] : [], user.map(decode), segments ? segments.split("/").map(decode) : []];
}

function partMatches(pattern, part, openEnd) {
  const same = (one, other) => one.length === other.length && one.every((text, index) => text === other[index]);
  const star = pattern.indexOf("*");
  if (star < 0) return same(pattern, part);
  if (!same(pattern.slice(0, star), part.slice(0, star))) return false;
  const after = pattern.slice(star + 1);
  if (part.length > star) return after.length === 0 || (openEnd && same(after, ["*"]));
  return openEnd && star > 0 && after.length === 0;
}

// ------------------------------------------------------------------------------------------------------------- flow

/**
 * The one flow behind connect() and fetch(): finds the answer to the strongest challenge that has one.
 * It answers at most so many challenges, and never sends refused credentials again to the same challenge.
 */
class Flow {
  #handler;
  #current;
  #left;
  #met = new Map();
  #refused = new Set();
  #tell;
  constructor(options) {
    if (!(options.challengeHandler instanceof ChallengeHandler)) throw new TypeError("a challengeHandler is needed");
    this.#handler = this.#current = options.challengeHandler;
    this.#left = options.maxAuthenticationAttempts ?? 3;
    this.#tell = options.onExchange ?? (() => {});
  }
  tell(step, details = {}) {
    this.#tell({ step, ...details });
  }
  async answer(location, headers, signal) {
    for (const offered of this.#offers(headers)) {
      const key = `${offered.scheme} ${offered.parameters.realm ?? ""}`;
      const request = new ChallengeRequest(location, offered, (this.#met.get(key) ?? 0) + 1, signal);
      const handler = [this.#current, this.#handler].find((each) => each.canHandle(request));
      this.tell("challenge", { scheme: offered.scheme, realm: request.realm, handler: handler?.constructor.name ?? null });
      const response = this.#left > 0 && handler ? await handler.handle(request) : null;
      if (!response) continue;
      const digest = `${key} ${response.credentials}`;
      if (this.#refused.has(digest)) return null;
      this.#refused.add(digest);
      this.#met.set(key, request.attempt);
      this.#left -= 1;
      this.#current = response.nextHandler ?? this.#handler;
      const lines = [["Authorization", response.credentials]];
      const identity = headers.get("sec-challenge-identity");
      if (identity) lines.push(["Sec-Challenge-Identity", identity]);
      response.clearCredentials();
      this.tell("answer", { scheme: offered.scheme, realm: request.realm });
      return lines;
    }
    return null;
  }
  #offers(headers) {
    try {
      const strength = ({ scheme }) => STRENGTH[scheme] ?? 1;
      return parseChallenges(headers.get("www-authenticate") ?? "").sort((a, b) => strength(b) - strength(a));
    } catch (error) {
      console.warn("a challenge is not answered:", error.message);
      return [];
    }
  }
}

/**
 * As window.fetch, but answers 401 with a challenge handler. Nothing is answered for another origin than the request's.
 */
export async function fetch(input, { challengeHandler, maxAuthenticationAttempts, onExchange, ...init } = {}) {
  const flow = new Flow({ challengeHandler, maxAuthenticationAttempts, onExchange });
  const request = new Request(input, init);
  let response = await globalThis.fetch(request.clone());
  while (response.status === 401 && new URL(response.url).origin === new URL(request.url).origin) {
    const lines = await flow.answer(response.url, response.headers, request.signal);
    if (!lines) break;
    await response.body?.cancel();
    const headers = new Headers(request.headers);
    for (const [name, value] of lines) headers.set(name, value);
    response = await globalThis.fetch(new Request(request.clone(), { headers }));
  }
  flow.tell("outcome", { status: response.status });
  return response;
}

// ---------------------------------------------------------------------------------------------------------- sockets

/** Opens a WebSocket that logs in; see the type declarations for the options. */
export function connect(url, options) {
  return new GatewaySocket(url, options);
}

/** A timer that runs only while the network is waited for, and stands still while a person is asked. */
class Timer {
  #left;
  #since = 0;
  #handle = null;
  #expired;
  constructor(milliseconds, expired) {
    this.#left = milliseconds;
    this.#expired = expired;
  }
  run() {
    if (this.#left === null || this.#handle !== null) return;
    this.#since = performance.now();
    this.#handle = setTimeout(this.#expired, Math.max(this.#left, 0));
  }
  pause() {
    if (this.#handle === null) return;
    clearTimeout(this.#handle);
    this.#handle = null;
    this.#left -= performance.now() - this.#since;
  }
}

/** Like a WebSocket, but it opens only when the login is through. */
export class GatewaySocket extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;

  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  #url;
  #target;
  #protocols;
  #protocol = "";
  #binaryType = "blob";
  #state = GatewaySocket.CONNECTING;
  #socket;
  #flow;
  #timer;
  #expecting = "marker";
  #parts = [];
  #left = new AbortController();
  #refusal = null;

  constructor(url, options = {}) {
    super();
    const opening = new URL(url, globalThis.location?.href);
    opening.protocol = opening.protocol.replace(/^http/, "ws");
    opening.hash = "";
    this.#url = opening.href;
    this.#target = opening.pathname + opening.search;
    this.#protocols = [options.protocols ?? []].flat();
    this.#flow = new Flow(options);
    this.#timer = new Timer(options.connectTimeout ?? 10_000, () => this.#refuse("timeout", 4408));
    opening.search += opening.search ? "&.kl=Y" : "?.kl=Y";
    this.#socket = new WebSocket(opening, [PROTOCOL, ...this.#protocols]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => {
      if (this.#socket.protocol !== PROTOCOL) this.#refuse("the server does not offer the extended handshake", 4400);
    };
    this.#socket.onmessage = (event) => this.#receive(event);
    this.#socket.onclose = (event) => this.#closed(event);
    this.#timer.run();
  }

  get url() {
    return this.#url;
  }
  get protocol() {
    return this.#protocol;
  }
  get extensions() {
    return this.#socket.extensions;
  }
  get readyState() {
    return this.#state;
  }
  get bufferedAmount() {
    return this.#socket.bufferedAmount;
  }
  get binaryType() {
    return this.#binaryType;
  }
  set binaryType(value) {
    if (value !== "blob" && value !== "arraybuffer") return;
    this.#binaryType = value;
    if (this.#state === GatewaySocket.OPEN) this.#socket.binaryType = value;
  }

  send(data) {
    if (this.#state === GatewaySocket.CONNECTING) throw new DOMException("the login is not through", "InvalidStateError");
    this.#socket.send(data);
  }

  close(code, reason) {
    if (this.#state >= GatewaySocket.CLOSING) return;
    this.#socket.close(code, reason);
    this.#state = GatewaySocket.CLOSING;
    this.#left.abort();
    this.#timer.pause();
  }

  #receive({ data }) {
    if (this.#state === GatewaySocket.OPEN) return this.#fire(new MessageEvent("message", { data, origin: new URL(this.#url).origin }));
    if (this.#state !== GatewaySocket.CONNECTING) return undefined;
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data);
    if (this.#expecting === "response") return this.#response(bytes);
    const expected = [...MARKER, 0x4e];
    if (this.#expecting === "nothing" || bytes.length !== 4 || !expected.every((byte, index) => byte === bytes[index])) {
      return this.#refuse("the server does not keep to the extended handshake", 4400);
    }
    return this.#expecting === "marker" ? this.#request([]) : this.#open();
  }

  #request(lines) {
    this.#expecting = "response";
    const own = [["Sec-WebSocket-Protocol", this.#protocols.join(",")], ["Sec-WebSocket-Extensions", ""]];
    const head = [`GET ${this.#target} HTTP/1.1`, ...[...own, ...lines].map(([name, value]) => `${name}: ${value}`)];
    this.#socket.send(head.join("\r\n") + "\r\n\r\n");
    this.#timer.run();
  }

  #response(bytes) {
    if (bytes.length > 0) {
      this.#parts.push(bytes);
      const size = this.#parts.reduce((sum, part) => sum + part.length, 0);
      if (size > MAX_RESPONSE || this.#parts.length > 64) this.#refuse("the server's response is too long", 4400);
      return;
    }
    const decoder = new TextDecoder("latin1");
    const text = this.#parts.splice(0).map((part) => decoder.decode(part)).join("");
    const match = /^HTTP\/1\.1 ([1-5]\d\d)[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n/.exec(text);
    if (!match) {
      this.#refuse("the server does not keep to the extended handshake", 4400);
      return;
    }
    const status = Number(match[1]);
    const headers = new Map();
    for (const line of match[2].split("\r\n").slice(0, -1)) {
      const name = line.slice(0, line.indexOf(":")).toLowerCase();
      const value = line.slice(line.indexOf(":") + 1).trim();
      headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value);
    }
    if (status === 101) {
      this.#protocol = headers.get("sec-websocket-protocol") ?? "";
      this.#expecting = "opening";
    } else if (status === 401) {
      this.#challenged(headers);
    } else {
      this.#refuse(`refused: ${status}`, 4000 + status);
    }
  }

  async #challenged(headers) {
    this.#timer.pause();
    this.#expecting = "nothing";
    let lines = null;
    try {
      lines = await this.#flow.answer(this.#url, headers, this.#left.signal);
    } catch (error) {
      console.error("a challenge handler failed:", error);
    }
    if (this.#state !== GatewaySocket.CONNECTING || this.#refusal) return;
    if (lines) this.#request(lines);
    else this.#refuse("refused: 401", 4401);
  }

  #open() {
    this.#timer.pause();
    this.#socket.binaryType = this.#binaryType;
    this.#state = GatewaySocket.OPEN;
    this.#flow.tell("outcome", { status: 101 });
    this.#fire(new Event("open"));
  }

  #refuse(reason, code) {
    if (this.#refusal) return;
    this.#refusal = { code, reason };
    this.#timer.pause();
    this.#socket.close();
    this.#closed({ code, reason, wasClean: false });
  }

  #closed({ code, reason, wasClean }) {
    if (this.#state === GatewaySocket.CLOSED) return;
    const opened = this.#state === GatewaySocket.OPEN || this.#state === GatewaySocket.CLOSING;
    this.#timer.pause();
    this.#state = GatewaySocket.CLOSED;
    this.#left.abort();
    if (!opened) this.#flow.tell("outcome", { status: code >= 4400 && code < 4600 ? code - 4000 : 0, reason });
    if (!wasClean || !opened) this.#fire(new Event("error"));
    this.#fire(new CloseEvent("close", { code, reason, wasClean: wasClean && opened }));
  }

  #fire(event) {
    const handler = this[`on${event.type}`];
    if (typeof handler === "function") handler.call(this, event);
    this.dispatchEvent(event);
  }
}

// ----------------------------------------------------------------------------------------------------------- dialog

const STYLE = `
:where(.gateway-login) { color-scheme: light dark; box-sizing: border-box; width: min(24rem, calc(100vw - 2rem)); padding: 1.5rem;
  border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: .75rem; font: inherit;
  background: Canvas; color: CanvasText; box-shadow: 0 1rem 3rem rgb(0 0 0 / .25); }
:where(.gateway-login)::backdrop { background: rgb(0 0 0 / .45); }
:where(.gateway-login h2) { margin: 0 0 .25rem; font-size: 1.25rem; }
:where(.gateway-login p) { margin: 0 0 1rem; overflow-wrap: anywhere; }
:where(.gateway-login [role=alert]) { color: light-dark(#b00020, #ff8a80); }
:where(.gateway-login [role=alert]:empty) { display: none; }
:where(.gateway-login label) { display: block; margin-bottom: 1rem; }
:where(.gateway-login input) { box-sizing: border-box; display: block; width: 100%; margin-top: .25rem; padding: .6rem; font: inherit; }
:where(.gateway-login menu) { display: flex; justify-content: flex-end; gap: .5rem; margin: 0; padding: 0; }
:where(.gateway-login button) { padding: .6rem 1rem; font: inherit; }
`;
const TEXTS = {
  title: "Log in",
  place: (realm, host) => (realm ? `${realm} (${host})` : host),
  wrong: "The user name or the password was wrong.",
  username: "User name",
  password: "Password",
  submit: "Log in",
  cancel: "Cancel",
};
let styled = false;
let last = Promise.resolve();

/** A login handler that asks in a modal dialog of the page; one dialog at a time. */
export function loginDialog({ texts = {}, className = "gateway-login", parent = null } = {}) {
  const words = { ...TEXTS, ...texts };
  return (request) => {
    const asked = last.then(() => ask(request, words, className, parent ?? document.body));
    last = asked.catch(() => {});
    return asked;
  };
}

function ask(request, words, className, parent) {
  if (!styled) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    document.adoptedStyleSheets.push(sheet);
    styled = true;
  }
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const id = `gateway-login-${crypto.randomUUID()}`;
  const username = make("input", { name: "username", autocomplete: "username", required: true, autofocus: true });
  Object.assign(username, { autocapitalize: "none", spellcheck: false });
  const password = make("input", { name: "password", type: "password", autocomplete: "current-password" });
  const cancel = make("button", { type: "button" }, words.cancel);
  const problem = make("p", { id: `${id}-problem` });
  problem.setAttribute("role", "alert");
  const place = words.place(request.realm, new URL(request.location).host);
  const form = make(
    "form",
    { method: "dialog" },
    make("h2", { id: `${id}-title` }, words.title),
    make("p", { id: `${id}-place` }, place),
    problem,
    make("label", {}, words.username, username),
    make("label", {}, words.password, password),
    make("menu", {}, cancel, make("button", { type: "submit" }, words.submit)),
  );
  const dialog = make("dialog", { className }, form);
  dialog.setAttribute("aria-labelledby", `${id}-title`);
  dialog.setAttribute("aria-describedby", `${id}-place ${id}-problem`);
  parent.append(dialog);
  return new Promise((resolve) => {
    let answer = null;
    form.addEventListener("submit", () => {
      answer = new PasswordAuthentication(username.value, password.value);
    });
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      password.value = "";
      dialog.remove();
      resolve(answer);
    });
    request.signal?.addEventListener("abort", () => dialog.close());
    dialog.showModal();
    if (request.signal?.aborted) dialog.close();
    if (request.attempt > 1) problem.textContent = words.wrong;
  });
}
