/** A trigger in a sentence, for the runbook. */
import { duration } from '../document/blocks.ts';
import type { Trigger } from './trigger.ts';

const FEEDS = {
  reports: 'by the reports of applications',
  crossfade: 'by what Crossfade sees',
  promql: 'by PromQL',
  http: 'by HTTP',
} as const;

export function describeTrigger({ name, kind, above, windowMs, feed, action }: Trigger): string {
  const limit = {
    errors: `errors above ${above * 100} %`,
    slow: `times above ${above} × the baseline`,
    drift: `more than ${above} rows that differ`,
    failure: `more than ${above * 100} % of the looks fail`,
  }[kind];
  const then = action === 'rollback' ? 'rolls back by itself' : 'asks for a rollback';
  return `${name}: ${limit} over ${duration(windowMs)}, ${FEEDS[feed.kind]}; ${then}.`;
}
