/** Types of asgi-gateway-client.js. */

export interface OfferedChallenge {
  /** In lower case, without "Application". */
  scheme: string;
  /** The token68 words; for Application Token the challenge's data. */
  words: string[];
  /** Names in lower case. */
  parameters: Record<string, string>;
  /** Whether the scheme had the prefix "Application". */
  application: boolean;
}

/** Reads the value of WWW-Authenticate; throws a SyntaxError if it is malformed. */
export function parseChallenges(text: string): OfferedChallenge[];

export class ChallengeRequest implements OfferedChallenge {
  constructor(location: string, challenge: string | OfferedChallenge, attempt?: number, signal?: AbortSignal | null);
  readonly location: string;
  readonly scheme: string;
  readonly realm: string;
  readonly words: string[];
  readonly parameters: Record<string, string>;
  readonly application: boolean;
  /** 1 when this challenge is met for the first time, 2 after one answer to it was refused, and so on. */
  readonly attempt: number;
  /** Aborted when an answer is wanted no longer: the socket was closed, or the server is gone. */
  readonly signal: AbortSignal | null;
}

export class ChallengeResponse {
  constructor(credentials: string, nextHandler?: ChallengeHandler | null, options?: { reusable?: boolean });
  readonly credentials: string;
  nextHandler: ChallengeHandler | null;
  /** Whether the same credentials are good for further requests, as those of Basic are. */
  reusable: boolean;
  clearCredentials(): void;
}

export class PasswordAuthentication {
  constructor(username: string, password: string);
  username: string;
  readonly password: string;
  clear(): void;
}

/** Gives a user name and a password; null ends the attempt. */
export type LoginHandler = (request: ChallengeRequest) => Login | null | Promise<Login | null>;
export type Login = PasswordAuthentication | { username: string; password: string };

export class ChallengeHandler {
  canHandle(request: ChallengeRequest): boolean;
  handle(request: ChallengeRequest): Promise<ChallengeResponse | null>;
  /** The handler whose answer handle() gives: this one, unless challenges are passed on to others. */
  answeringHandler(request: ChallengeRequest): ChallengeHandler;
}

export interface SecretOptions {
  /** Send secrets also without TLS to hosts other than this machine. */
  allowPlainHttp?: boolean;
}

export class BasicChallengeHandler extends ChallengeHandler {
  constructor(login?: LoginHandler | null, options?: SecretOptions);
  setRealmLoginHandler(realm: string, login: LoginHandler | null): this;
}

export class TokenChallengeHandler extends ChallengeHandler {
  constructor(source: (request: ChallengeRequest) => string | null | Promise<string | null>, options?: SecretOptions);
}

export class DispatchChallengeHandler extends ChallengeHandler {
  /** Locations are user:password@host:port/path; any part may be "*". */
  register(location: string, handler: ChallengeHandler): this;
  unregister(location: string, handler: ChallengeHandler): this;
  lookup(location: string): ChallengeHandler[];
}

/** One step of an exchange, for pages that show what happens. It never holds a secret. */
export interface Exchange {
  step: "challenge" | "answer" | "outcome";
  scheme?: string;
  realm?: string;
  /** The name of the handler's class, or null if there is none. */
  handler?: string | null;
  /** The HTTP status: 101 for an open socket; 0 when the server is gone. */
  status?: number;
  reason?: string;
}

export interface AuthenticationOptions {
  challengeHandler: ChallengeHandler;
  /** How many challenges are answered; 3 by default. */
  maxAuthenticationAttempts?: number;
  onExchange?: (exchange: Exchange) => void;
  /**
   * Whether accepted credentials that may be used again (those of Basic) are kept with the challenge handler, for later
   * requests and sockets, and whether requests that are challenged at the same time ask it once; true by default.
   */
  remember?: boolean;
}

/** Forgets what was remembered for a challenge handler; the person is asked again. */
export function forgetCredentials(challengeHandler: ChallengeHandler): void;

/** As window.fetch, but answers 401 with a challenge handler. */
export function fetch(input: RequestInfo | URL, init: RequestInit & AuthenticationOptions): Promise<Response>;

export interface ConnectOptions extends AuthenticationOptions {
  protocols?: string | string[];
  /** Milliseconds until the socket must be open, not counting the time in which a handler is asked; null: any. */
  connectTimeout?: number | null;
}

/** Opens a WebSocket that logs in. Credentials in the URL are sent first, unless others could read them on the way. */
export function connect(url: string | URL, options: ConnectOptions): GatewaySocket;

/**
 * A close event in words for people: those of `texts` for its code, else its reason, else those of the module. A refusal's
 * reason is in such words already.
 */
export function describeClose(event: { code: number; reason?: string }, texts?: Record<number, string>): string;

/**
 * Like a WebSocket, but it opens only when the login is through. A refusal closes it with 4000 and the HTTP status: 4401
 * (no answer left), 4403, 4503; a timeout with 4408; a server that violates the protocol with 4400.
 */
export class GatewaySocket extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;
  constructor(url: string | URL, options: ConnectOptions);
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onerror: ((event: Event) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  readonly url: string;
  readonly protocol: string;
  readonly extensions: string;
  readonly readyState: 0 | 1 | 2 | 3;
  readonly bufferedAmount: number;
  binaryType: BinaryType;
  send(data: string | ArrayBufferLike | Blob | ArrayBufferView): void;
  close(code?: number, reason?: string): void;
}

export interface LoginDialogOptions {
  texts?: Partial<{
    title: string;
    place: (realm: string, host: string) => string;
    wrong: string;
    username: string;
    password: string;
    submit: string;
    cancel: string;
  }>;
  /** The dialog's class; the default one is styled with no specificity, so that any rule of the page overrides it. */
  className?: string;
  /** Where the dialog is put; the body by default. */
  parent?: Element | null;
}

/** A login handler that asks in a modal dialog of the page. */
export function loginDialog(options?: LoginDialogOptions): LoginHandler;
