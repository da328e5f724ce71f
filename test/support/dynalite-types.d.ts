declare module 'dynalite' {
  import type { Server } from 'node:http';

  interface DynaliteOptions {
    readonly createTableMs?: number;
  }

  /** A server that speaks DynamoDB's protocol and keeps its tables in memory. */
  export default function dynalite(options?: DynaliteOptions): Server;
}
