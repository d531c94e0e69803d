/** Where reading of a log can be taken up again. Guarantee: plain data; the log that made it is the only one that understands it. */
export interface Bookmark {
  /** Record that reading goes on with. */
  readonly offset: number;
  /** JSON. */
  readonly place: string;
}
