/** A named proof. Guarantee: it resolves with its figures when what it claims held, and throws with the evidence when it did not. */
export interface Proof {
  readonly name: string;
  /** One sentence: what holds when this passes. */
  readonly claim: string;
  /** Roughly, at full size on two quiet cores: what `--budget` plans with. */
  readonly expectedSeconds: number;
  /** Judges how long something takes while it loads the machine itself: not begun with `--budget`, as on a machine that others share. */
  readonly needsQuiet?: true;
  run(context: ProofContext): Promise<Figures>;
}

export type Figures = Readonly<Record<string, string | number | boolean>>;

export interface ProofContext {
  /** Small forms run in `npm test`, full ones in `npm run prove`. */
  readonly size: 'small' | 'full';
  readonly seed: number;
  /** Progress for a human; nothing depends on it. */
  readonly say: (text: string) => void;
}

/** Not provable here, with the reason; neither passed nor failed. */
export class Skipped extends Error {
  override readonly name = 'Skipped';
}
