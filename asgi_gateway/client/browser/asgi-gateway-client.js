/**
 * The gateway's client for browsers: challenge handlers, login handlers, WebSockets that log in, and fetch.
 *
 * A browser's WebSocket can neither set headers nor see a 401. connect() therefore holds the HTTP exchange inside the
 * socket (the subprotocol x-kaazing-handshake) and gives the page a socket that opens only when the login is through.
 * No dependencies. Types are in asgi-gateway-client.d.ts.
 */

const MARKER = [0xef, 0x83, 0xbf]; // U+F0FF; "N" after it: no redirect
const PROTOCOL = "x-kaazing-handshake";
const STRENGTH = { negotiate: 3, token: 2, basic: 0 };
const PORTS = { http: "80", ws: "80", https: "443", wss: "443" };
const MAX_RESPONSE = 128 * 1024;
const MAX_REMEMBERED = 256;

// ------------------------------------------------------------------------------------------------------- challenges

const SCHEME = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?=[ \t,]|$)/y;
const WORD = /[!#$%&'*+\-.^_`|~0-9A-Za-z/]+=*(?=[ \t,]|$)/y;
const VALUE = `(?:([!#$%&'*+\\-.^_\`|~0-9A-Za-z]+)|"((?:[\\t !#-\\[\\]-~\\x80-\\xff]|\\\\[\\t -~\\x80-\\xff])*)")(?=[ \\t,]|$)`;
const PARAMETER = new RegExp(`([!#$%&'*+\\-.^_\`|~0-9A-Za-z]+)[ \\t]*=[ \\t]*${VALUE}`, "y");
const TIGHT_PARAMETER = new RegExp(`([!#$%&'*+\\-.^_\`|~0-9A-Za-z]+)=${VALUE}`, "y");
const SEPARATORS = /[ \t,]*/y;
const SPACES = /[ \t]*/y;

const UNTIL_COMMA = /(?:[^",]|"(?:[^"\\]|\\.)*")*/sy;
const MAX_LENGTH = 64 * 1024;
const MAX_CHALLENGES = 32;

function matchAt(pattern, text, position) {
  pattern.lastIndex = position;
  return pattern.exec(text);
}

/** Reads the value of WWW-Authenticate (RFC 9110 section 11.6.1); throws a SyntaxError if it is malformed. */
export function parseChallenges(text) {
  const { challenges, errors } = readableChallenges(text);
  if (errors.length > 0) throw errors[0];
  return challenges;
}

/**
 * Reads the challenges that are well-formed and leaves out the others. Browsers join the lines of all challenges to one;
 * a malformed one must not hide those beside it. Reading goes on after a comma outside quotes that a scheme follows.
 */
function readableChallenges(text) {
  if (text.length > MAX_LENGTH) throw new SyntaxError("WWW-Authenticate is too long");
  const challenges = [];
  const errors = [];
  let position = matchAt(SEPARATORS, text, 0)[0].length;
  while (position < text.length) {
    if (challenges.length + errors.length === MAX_CHALLENGES) throw new SyntaxError("WWW-Authenticate has too many challenges");
    const reader = new ChallengeReader(text, position);
    try {
      challenges.push(reader.read());
      position = reader.position;
    } catch (error) {
      errors.push(error);
      position = nextChallenge(text, position);
    }
  }
  return { challenges, errors };
}

function nextChallenge(text, start) {
  let position = start;
  while (position < text.length) {
    position += matchAt(UNTIL_COMMA, text, position)[0].length;
    if (text.charAt(position) !== ",") return text.length;
    position += matchAt(SEPARATORS, text, position)[0].length;
    if (matchAt(SCHEME, text, position) && !matchAt(PARAMETER, text, position)) break;
  }
  return position;
}

/** Reads one challenge from a position of the header's value. */
class ChallengeReader {
  constructor(text, position) {
    this.text = text;
    this.position = position;
  }
  read() {
    const challenge = { scheme: this.#scheme(), words: [], parameters: {}, application: false };
    const spaces = matchAt(SPACES, this.text, this.position)[0].length;
    if (challenge.scheme === "application" && spaces > 0 && matchAt(SCHEME, this.text, this.position + spaces)) {
      this.position += spaces;
      Object.assign(challenge, { scheme: this.#scheme(), application: true });
    }
    let more = true;
    while (more && this.position < this.text.length) more = this.#item(challenge);
    return challenge;
  }
  /** Reads a parameter or a word; false if the challenge ends here. */
  #item(challenge) {
    const between = matchAt(SEPARATORS, this.text, this.position)[0];
    this.position += between.length;
    const parameter = matchAt(challenge.application ? TIGHT_PARAMETER : PARAMETER, this.text, this.position);
    if (parameter) {
      const name = parameter[1].toLowerCase();
      if (Object.hasOwn(challenge.parameters, name)) throw new SyntaxError("WWW-Authenticate has a duplicate parameter");
      challenge.parameters[name] = parameter[2] ?? parameter[3].replace(/\\(.)/gs, "$1");
      this.position += parameter[0].length;
      return true;
    }
    if (between.includes(",") || this.position === this.text.length) return false;
    const word = matchAt(WORD, this.text, this.position);
    if (!word) throw this.#malformed();
    challenge.words.push(word[0]);
    this.position += word[0].length;
    return true;
  }
  #scheme() {
    const match = matchAt(SCHEME, this.text, this.position);
    if (!match) throw this.#malformed();
    this.position += match[0].length;
    return match[0].toLowerCase();
  }
  #malformed() {
    return new SyntaxError(`WWW-Authenticate is malformed at character ${this.position + 1}`);
  }
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

/** Credentials for the Authorization header, who answers the next challenge, and whether they are good once more. */
export class ChallengeResponse {
  #credentials;
  constructor(credentials, nextHandler = null, { reusable = false } = {}) {
    if (!/^[ -~]+$/.test(credentials)) throw new TypeError("credentials for a header are printable ASCII");
    this.#credentials = credentials;
    this.nextHandler = nextHandler;
    this.reusable = reusable;
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
  /** The handler whose answer handle() gives; one that passes challenges on to others overrides this. */
  answeringHandler(_request) {
    return this;
  }
  async handle(_request) {
    return null;
  }
}

function basicCredentials(username, password) {
  const pair = `${username}:${password}`;
  // eslint-disable-next-line no-control-regex
  if (username.includes(":") || /[\x00-\x1f\x7f]/.test(pair)) {
    throw new TypeError("Basic credentials cannot carry control characters, nor a colon in the user name");
  }
  return "Basic " + btoa(String.fromCharCode(...new TextEncoder().encode(pair)));
}

/** Whether only the server can read what is sent to a URL: over TLS, or to this machine. */
function isConfidential(location) {
  const url = new URL(location);
  const host = url.hostname;
  const local = host === "localhost" || host.endsWith(".localhost") || /^127\.\d+\.\d+\.\d+$/.test(host) || host === "[::1]";
  return /^(https|wss):$/.test(url.protocol) || local;
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
    return suitable && (this.#plain || isConfidential(request.location));
  }
  async handle(request) {
    const login = await this.#login(request.realm)(request);
    if (!login) return null;
    try {
      return new ChallengeResponse(basicCredentials(login.username, login.password), null, { reusable: true });
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
    return request.scheme === "token" && (this.#plain || isConfidential(request.location));
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
  answeringHandler(request) {
    return this.#choose(request)?.answeringHandler(request) ?? this;
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

/** Scheme, host and port of a URL; ws counts as http. */
function originOf(location) {
  return new URL(new URL(location).href.replace(/^ws/, "http")).origin;
}

/**
 * Accepted credentials of one challenge handler: by folder, to be sent at once (RFC 7617 section 2.2), and by protection
 * space, to answer challenges with. At the bound the oldest entry is dropped.
 */
class CredentialMemory {
  #folders = new Map();
  #spaces = new Map();
  recall(location) {
    const { origin, folders } = CredentialMemory.#place(location);
    const folder = folders.find((each) => this.#folders.has(origin + each));
    return folder === undefined ? null : this.#folders.get(origin + folder);
  }
  recallSpace(space) {
    return this.#spaces.get(space) ?? null;
  }
  store(location, space, credentials) {
    const { origin, folders } = CredentialMemory.#place(location);
    for (const [entries, key] of [[this.#folders, origin + folders[0]], [this.#spaces, space]]) {
      entries.delete(key);
      while (entries.size >= MAX_REMEMBERED) entries.delete(entries.keys().next().value);
      entries.set(key, credentials);
    }
  }
  forget(credentials) {
    for (const entries of [this.#folders, this.#spaces]) {
      for (const [key, value] of entries) if (value === credentials) entries.delete(key);
    }
  }
  /** A URL's origin and the folders that hold it, deepest first. */
  static #place(location) {
    const path = new URL(location).pathname;
    const folders = [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index + 1)).reverse();
    return { origin: originOf(location), folders };
  }
}

const memories = new WeakMap();

function memoryOf(handler) {
  if (!memories.has(handler)) memories.set(handler, new CredentialMemory());
  return memories.get(handler);
}

/** Forgets the credentials that a challenge handler gave and the server accepted; the person is asked again. */
export function forgetCredentials(challengeHandler) {
  memories.delete(challengeHandler);
}

/** How a shared login ended. */
const ACCEPTED = "accepted";
const REFUSED = "refused"; // the handler gave no answer, or the server refused it to the end
const NOT_SHAREABLE = "not shareable"; // the answer is good for one request only
const ABANDONED = "abandoned"; // the request ended before its answer was accepted or refused

const handlerNumbers = new WeakMap();
const sharedLogins = new Map();
let handlerCount = 0;

/** A name for where one answer to a challenge is good: origin, scheme, realm and who answers. */
function protectionSpace(request, handler) {
  if (!handlerNumbers.has(handler)) handlerNumbers.set(handler, (handlerCount += 1));
  return JSON.stringify([originOf(request.location), request.scheme, request.realm, handlerNumbers.get(handler)]);
}

/** A login that one request leads and others wait for. */
class SharedLogin {
  #finish;
  outcome = new Promise((resolve) => { this.#finish = resolve; });
  finish(result, credentials = "") {
    this.#finish({ result, credentials });
  }
}

/** Waits for a promise, or until the signal is aborted; null then. */
async function unlessAborted(promise, signal) {
  if (!signal) return promise;
  const waiting = new AbortController();
  const aborted = new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    signal.addEventListener("abort", () => resolve(null), { signal: waiting.signal });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    waiting.abort();
  }
}

/**
 * The one flow behind connect() and fetch(). The strongest challenge that has an answer is answered; so many challenges
 * at most; refused credentials are not sent again to the same challenge. Accepted ones are remembered, and requests that
 * meet the same challenge at the same time ask the handler once.
 */
class AuthenticationFlow {
  #handler;
  #current;
  #attemptsLeft;
  #report;
  #memory;
  #first;
  #asked = new Map();
  #refused = new Set();
  #severalFactors = false;
  #sent = null;
  #leads = null; // one at a time: a flow that waits for another login must hold none
  #alone = new Set();
  constructor(options, location, credentials = null) {
    const { challengeHandler, maxAuthenticationAttempts = 3, onExchange = () => {}, remember = true } = options;
    if (!(challengeHandler instanceof ChallengeHandler)) throw new TypeError("a challengeHandler is needed");
    this.#handler = this.#current = challengeHandler;
    this.#attemptsLeft = maxAuthenticationAttempts;
    this.#report = onExchange;
    this.#memory = remember ? memoryOf(challengeHandler) : null;
    this.#first = credentials ?? (maxAuthenticationAttempts > 0 ? this.#memory?.recall(location) ?? null : null);
  }
  report(step, details = {}) {
    this.#report({ step, ...details });
  }
  /** The headers of the first request: credentials of the URL, or those that were accepted in its folder. */
  firstHeaders() {
    return this.#first ? [["Authorization", this.#first]] : [];
  }
  /** Takes note of a reply: accepted credentials are remembered and shared, refused ones are forgotten. */
  replied(status, location, headers) {
    const sent = this.#sent;
    this.#sent = null;
    if (sent === null) {
      if (status === 401 && this.#first) this.#refuseFirst(headers);
    } else if (this.#severalFactors) {
      this.finish(NOT_SHAREABLE);
    } else if (status === 401) {
      this.#memory?.forget(sent.credentials);
    } else if (status >= 500 || [0, 400, 403, 407, 429].includes(status)) {
      this.finish(ABANDONED);
    } else if (sent.reusable) {
      this.#memory?.store(location, sent.space, sent.credentials);
      this.finish(ACCEPTED, sent.credentials);
    }
  }
  /** The headers that answer a 401's strongest challenge that has an answer; null if there is none. */
  async answer(location, headers, signal) {
    for (const offered of this.#offers(headers)) {
      const asked = `${offered.scheme} ${offered.parameters.realm ?? ""}`;
      const request = new ChallengeRequest(location, offered, (this.#asked.get(asked) ?? 0) + 1, signal);
      const handler = [this.#current, this.#handler].find((each) => each.canHandle(request));
      this.report("challenge", { scheme: offered.scheme, realm: request.realm, handler: handler?.constructor.name ?? null });
      if (!handler || this.#attemptsLeft <= 0) continue;
      const space = protectionSpace(request, handler.answeringHandler(request));
      if (this.#leads !== null && this.#leads !== space) this.finish(NOT_SHAREABLE);
      const response = await this.#respond(handler, request, space, asked);
      if (!response) continue;
      if (this.#wasRefused(asked, response.credentials)) break;
      return this.#send(response, { offered, request, space, asked }, headers.get("sec-challenge-identity"));
    }
    this.finish(signal?.aborted ? ABANDONED : REFUSED);
    return null;
  }
  /** Ends the login that this flow leads, if it leads one. */
  finish(result, credentials = "") {
    if (this.#leads === null) return;
    const login = sharedLogins.get(this.#leads);
    sharedLogins.delete(this.#leads);
    this.#leads = null;
    login.finish(result, credentials);
  }
  #send(response, { offered, request, space, asked }, identity) {
    const { credentials, reusable } = response;
    this.#refused.add(`${asked} ${credentials}`); // unless they are accepted now
    this.#attemptsLeft -= 1;
    this.#current = response.nextHandler ?? this.#handler;
    this.#sent = { credentials, reusable, space };
    response.clearCredentials();
    const lines = [["Authorization", credentials]];
    if (identity) {
      this.#severalFactors = true;
      lines.push(["Sec-Challenge-Identity", identity]);
    }
    this.report("answer", { scheme: offered.scheme, realm: request.realm });
    return lines;
  }
  /** Answers one challenge: from the memory, with what another request's login came to, or by the handler. */
  async #respond(handler, request, space, asked) {
    while (this.#memory && this.#leads === null && !this.#alone.has(space)) {
      const known = this.#recall(space, asked);
      if (known) return known;
      const login = sharedLogins.get(space);
      if (!login) {
        sharedLogins.set(space, new SharedLogin());
        this.#leads = space;
        break;
      }
      const outcome = await unlessAborted(login.outcome, request.signal);
      if (outcome === null || outcome.result === REFUSED) return null;
      if (outcome.result === ACCEPTED && !this.#wasRefused(asked, outcome.credentials)) {
        return new ChallengeResponse(outcome.credentials, null, { reusable: true });
      }
      if (outcome.result !== ABANDONED) this.#alone.add(space);
    }
    const response = this.#recall(space, asked) ?? (await this.#ask(handler, request, asked));
    if (response && !response.reusable) this.finish(NOT_SHAREABLE);
    return response;
  }
  async #ask(handler, request, asked) {
    const response = await handler.handle(request);
    if (response) this.#asked.set(asked, request.attempt);
    else this.finish(request.signal?.aborted ? ABANDONED : REFUSED);
    return response;
  }
  #recall(space, asked) {
    const known = this.#memory?.recallSpace(space) ?? null;
    if (known === null || this.#wasRefused(asked, known)) return null;
    return new ChallengeResponse(known, null, { reusable: true });
  }
  #wasRefused(asked, credentials) {
    return this.#refused.has(`${asked} ${credentials}`);
  }
  #refuseFirst(headers) {
    this.#memory?.forget(this.#first);
    if (headers.get("sec-challenge-identity")) return; // they may have been the accepted first factor of several
    for (const { scheme, parameters } of this.#offers(headers)) this.#refused.add(`${scheme} ${parameters.realm ?? ""} ${this.#first}`);
  }
  #offers(headers) {
    const strength = ({ scheme }) => STRENGTH[scheme] ?? 1;
    try {
      const { challenges, errors } = readableChallenges(headers.get("www-authenticate") ?? "");
      for (const error of errors) console.warn("a challenge is not answered:", error.message);
      return challenges.sort((a, b) => strength(b) - strength(a));
    } catch (error) {
      console.warn("challenges are not answered:", error.message);
      return [];
    }
  }
}

/**
 * As window.fetch, but answers 401 with a challenge handler, whose accepted credentials it remembers. Nothing is answered
 * for another origin than the request's.
 */
export async function fetch(input, { challengeHandler, maxAuthenticationAttempts, onExchange, remember, ...init } = {}) {
  const request = new Request(input, init);
  const flow = new AuthenticationFlow({ challengeHandler, maxAuthenticationAttempts, onExchange, remember }, request.url);
  try {
    let lines = flow.firstHeaders();
    for (;;) {
      const response = await globalThis.fetch(withAuthorization(request, lines));
      const location = response.url || request.url;
      flow.replied(response.status, location, response.headers);
      lines = null;
      if (response.status === 401 && originOf(location) === originOf(request.url)) {
        lines = await flow.answer(location, response.headers, request.signal);
        request.signal.throwIfAborted();
      }
      if (!lines) {
        flow.report("outcome", { status: response.status });
        return response;
      }
      await response.body?.cancel();
    }
  } finally {
    flow.finish(ABANDONED);
  }
}

/** The request with its Authorization. No other header is added: a redirect to another origin takes others along. */
function withAuthorization(request, lines) {
  const authorization = lines.find(([name]) => name === "Authorization");
  if (!authorization) return request.clone();
  const headers = new Headers(request.headers);
  headers.set(...authorization);
  return new Request(request.clone(), { headers });
}

// ---------------------------------------------------------------------------------------------------------- sockets

/** The credentials in a URL, unless others could read them on the way. A browser would send them by itself. */
function urlCredentials(url) {
  if (!url.username && !url.password) return null;
  if (!isConfidential(url)) {
    console.warn("the credentials in the URL are not sent without TLS");
    return null;
  }
  return basicCredentials(decodeURIComponent(url.username), decodeURIComponent(url.password));
}

/** Opens a WebSocket that logs in; see the type declarations for the options. */
export function connect(url, options) {
  return new GatewaySocket(url, options);
}

/** A timer that runs only while the client waits for the network, and not while a person is asked. */
class Timer {
  #remaining;
  #since = 0;
  #handle = null;
  #expired;
  constructor(milliseconds, expired) {
    this.#remaining = milliseconds;
    this.#expired = expired;
  }
  run() {
    if (this.#remaining === null || this.#handle !== null) return;
    this.#since = performance.now();
    this.#handle = setTimeout(this.#expired, Math.max(this.#remaining, 0));
  }
  pause() {
    if (this.#handle === null) return;
    clearTimeout(this.#handle);
    this.#handle = null;
    this.#remaining -= performance.now() - this.#since;
  }
}

const CLOSE_TEXTS = {
  1001: "The server is going away, or the page was left.",
  1006: "The connection was lost, or the server refused it.",
  1011: "The server had an error.",
  1012: "The server restarts. Please try again.",
  1013: "The server is busy. Please try again later.",
  4400: "The server gave an unexpected answer.",
  4401: "The login was cancelled or not accepted.",
  4403: "You may not use this service.",
  4404: "The server does not have this service.",
  4408: "The server did not answer in time.",
  4503: "The service is unavailable. Please try again later.",
};

/** A close event in words for people: the page's own for its code, else the reason that came with it, else the code's. */
export function describeClose({ code, reason = "" }, texts = {}) {
  return texts[code] ?? (reason || CLOSE_TEXTS[code] || (code === 1000 || code === 1005 ? "Closed." : `Closed (${code}).`));
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
  #location;
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
  #abort = new AbortController();
  #refusal = null;

  constructor(url, options = {}) {
    super();
    const opening = new URL(url, globalThis.location?.href);
    opening.protocol = opening.protocol.replace(/^http/, "ws");
    opening.hash = "";
    const credentials = urlCredentials(opening);
    this.#location = opening.href; // with the credentials, since locations of a DispatchChallengeHandler may have them
    opening.username = opening.password = "";
    this.#url = opening.href;
    this.#target = opening.pathname + opening.search;
    this.#protocols = [options.protocols ?? []].flat();
    this.#flow = new AuthenticationFlow(options, this.#location, credentials);
    this.#timer = new Timer(options.connectTimeout === undefined ? 10_000 : options.connectTimeout, () => this.#refuse(4408));
    opening.search += opening.search ? "&.kl=Y" : "?.kl=Y";
    this.#socket = new WebSocket(opening, [PROTOCOL, ...this.#protocols]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => {
      if (this.#socket.protocol !== PROTOCOL) this.#refuse(4400, "the server does not offer the extended handshake");
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
    this.#abort.abort();
    this.#flow.finish(ABANDONED);
    this.#timer.pause();
  }

  #receive({ data }) {
    if (this.#state === GatewaySocket.OPEN) return this.#fire(new MessageEvent("message", { data, origin: new URL(this.#url).origin }));
    if (this.#state !== GatewaySocket.CONNECTING) return undefined;
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data);
    if (this.#expecting === "response") return this.#response(bytes);
    const expected = [...MARKER, 0x4e];
    if (this.#expecting === "nothing" || bytes.length !== 4 || !expected.every((byte, index) => byte === bytes[index])) {
      return this.#refuse(4400, "the server violates the extended handshake");
    }
    return this.#expecting === "marker" ? this.#request(this.#flow.firstHeaders()) : this.#open();
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
      if (size > MAX_RESPONSE || this.#parts.length > 64) this.#refuse(4400, "the server's response is too long");
      return;
    }
    const decoder = new TextDecoder("latin1");
    const text = this.#parts.splice(0).map((part) => decoder.decode(part)).join("");
    const match = /^HTTP\/1\.1 ([1-5]\d\d)[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n/.exec(text);
    if (!match) {
      this.#refuse(4400, "the server violates the extended handshake");
      return;
    }
    const status = Number(match[1]);
    const headers = new Map();
    for (const line of match[2].split("\r\n").slice(0, -1)) {
      const name = line.slice(0, line.indexOf(":")).toLowerCase();
      const value = line.slice(line.indexOf(":") + 1).trim();
      headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value);
    }
    this.#flow.replied(status, this.#location, headers);
    if (status === 101) {
      this.#protocol = headers.get("sec-websocket-protocol") ?? "";
      this.#expecting = "opening";
    } else if (status === 401) {
      this.#challenged(headers);
    } else {
      this.#refuse(4000 + status);
    }
  }

  async #challenged(headers) {
    this.#timer.pause();
    this.#expecting = "nothing";
    let lines = null;
    try {
      lines = await this.#flow.answer(this.#location, headers, this.#abort.signal);
    } catch (error) {
      console.error("a challenge handler failed:", error);
    }
    if (this.#state !== GatewaySocket.CONNECTING || this.#refusal) return;
    if (lines) this.#request(lines);
    else this.#refuse(4401);
  }

  #open() {
    this.#timer.pause();
    this.#socket.binaryType = this.#binaryType;
    this.#state = GatewaySocket.OPEN;
    this.#flow.report("outcome", { status: 101 });
    this.#fire(new Event("open"));
  }

  #refuse(code, problem = null) {
    if (this.#refusal) return;
    const reason = describeClose({ code });
    this.#refusal = { code, reason };
    if (problem) console.warn("the WebSocket is closed:", problem);
    this.#timer.pause();
    this.#socket.close();
    this.#closed({ code, reason, wasClean: false });
  }

  #closed({ code, reason, wasClean }) {
    if (this.#state === GatewaySocket.CLOSED) return;
    const opened = this.#state === GatewaySocket.OPEN || this.#state === GatewaySocket.CLOSING;
    this.#timer.pause();
    this.#flow.finish(ABANDONED);
    this.#state = GatewaySocket.CLOSED;
    this.#abort.abort();
    if (!opened) this.#flow.report("outcome", { status: code >= 4400 && code < 4600 ? code - 4000 : 0, reason });
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
  border: 1px solid color-mix(in srgb, currentColor 55%, transparent); border-radius: .75rem; font: inherit;
  background: Canvas; color: CanvasText; box-shadow: 0 1rem 3rem rgb(0 0 0 / .25); }
:where(.gateway-login)::backdrop { background: rgb(0 0 0 / .45); }
:where(.gateway-login h2) { margin: 0 0 .25rem; font-size: 1.25rem; }
:where(.gateway-login p) { margin: 0 0 1rem; overflow-wrap: anywhere; }
:where(.gateway-login [role=alert]) { color: light-dark(#b00020, #ff8a80); }
:where(.gateway-login [role=alert]:empty) { display: none; }
:where(.gateway-login label) { display: block; margin-bottom: 1rem; }
:where(.gateway-login :is(input, button)) { box-sizing: border-box; padding: .6rem; font: inherit; border-radius: .375rem;
  border: 1px solid color-mix(in srgb, currentColor 55%, transparent); background: transparent; color: inherit; }
:where(.gateway-login input) { display: block; width: 100%; margin-top: .25rem; }
:where(.gateway-login menu) { display: flex; justify-content: flex-end; gap: .5rem; margin: 0; padding: 0; }
:where(.gateway-login button) { padding: .6rem 1rem; }
:where(.gateway-login :focus-visible) { outline: 2px solid currentColor; outline-offset: 2px; }
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
let lastDialog = Promise.resolve();

/** A login handler that asks in a modal dialog of the page; one dialog at a time. */
export function loginDialog({ texts = {}, className = "gateway-login", parent = null } = {}) {
  const options = { texts: { ...TEXTS, ...texts }, className, parent };
  const usernames = new Map();
  return (request) => {
    const key = `${originOf(request.location)} ${request.realm}`;
    const login = lastDialog.then(async () => {
      // after a wrong password the name stays
      const answer = await showDialog(request, options, (request.attempt > 1 && usernames.get(key)) || "");
      if (answer) usernames.set(key, answer.username);
      else usernames.delete(key);
      return answer;
    });
    lastDialog = login.catch(() => {});
    return login;
  };
}

function addStyle() {
  if (styled) return;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  document.adoptedStyleSheets.push(sheet);
  styled = true;
}

function makeElement(tag, { attributes = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The dialog's elements. With a user name the focus goes to the password. */
function makeDialog(request, { texts, className }, name) {
  const id = `gateway-login-${crypto.randomUUID()}`;
  const username = makeElement("input", {
    name: "username", autocomplete: "username", required: true, autofocus: !name, value: name, autocapitalize: "none", spellcheck: false,
  });
  const password = makeElement("input", {
    name: "password", type: "password", autocomplete: "current-password", autofocus: Boolean(name),
  });
  const cancel = makeElement("button", { type: "button" }, texts.cancel);
  const problem = makeElement("p", { id: `${id}-problem`, attributes: { role: "alert" } });
  const place = texts.place(request.realm, new URL(request.location).host);
  const form = makeElement(
    "form",
    { method: "dialog" },
    makeElement("h2", { id: `${id}-title` }, texts.title),
    makeElement("p", { id: `${id}-place` }, place),
    problem,
    makeElement("label", {}, texts.username, username),
    makeElement("label", {}, texts.password, password),
    makeElement("menu", {}, cancel, makeElement("button", { type: "submit" }, texts.submit)),
  );
  const attributes = { "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-place ${id}-problem` };
  return { dialog: makeElement("dialog", { className, attributes }, form), form, username, password, cancel, problem };
}

function showDialog(request, options, name) {
  addStyle();
  const { dialog, form, username, password, cancel, problem } = makeDialog(request, options, name);
  (options.parent ?? document.body).append(dialog);
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
    if (request.attempt > 1) problem.textContent = options.texts.wrong; // an alert is read out when its text changes
  });
}
