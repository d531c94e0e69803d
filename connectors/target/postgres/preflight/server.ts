/** Version, recovery, read-only default, encoding and collation of the target. */
import type { Finding } from '#schemas/errors.ts';
import { errorFinding, infoFinding, warningFinding } from '#schemas/finding.ts';
import { quoteIdent } from '#schemas/table.ts';
import type { TargetCheckInput } from './target-check.ts';

const VERSION_MIN = 140_000;

export async function checkTargetServer({ facts, sessions }: TargetCheckInput): Promise<Finding[]> {
  const findings: Finding[] = [];
  if (facts.version < VERSION_MIN) {
    findings.push(
      errorFinding(
        'CF-5008',
        `the target is PostgreSQL ${Math.floor(facts.version / 10_000)}; 14 is the oldest that is supported`,
        'Upgrade the target.',
      ),
    );
  }
  if (facts.inRecovery)
    findings.push(
      errorFinding('CF-5008', 'the target is a standby: nothing can be written there', 'Point target.postgres at the primary.'),
    );
  if (facts.readOnly && !facts.inRecovery) {
    const remedy = `ALTER ROLE ${quoteIdent(facts.role)} IN DATABASE ${quoteIdent(facts.database)} SET default_transaction_read_only = off;`;
    findings.push(errorFinding('CF-5008', 'transactions on the target are read-only by default for this role', remedy));
  }
  if (facts.connectionLimit >= 0 && facts.connectionLimit < sessions) {
    const message = `the target role may open ${facts.connectionLimit} sessions; crossfade uses up to ${sessions}`;
    findings.push(
      warningFinding(
        'CF-5002',
        message,
        `ALTER ROLE ${quoteIdent(facts.role)} CONNECTION LIMIT ${sessions};  -- or lower sink.parallel in the file`,
      ),
    );
  }
  return findings;
}

export async function checkTargetEncoding({ facts, sourceCatalog }: TargetCheckInput): Promise<Finding[]> {
  if (sourceCatalog === undefined) return [];
  const findings: Finding[] = [];
  const { encoding, collation } = sourceCatalog;
  if (facts.encoding !== encoding && facts.encoding !== 'UTF8') {
    const message =
      facts.encoding === 'SQL_ASCII'
        ? `the target is encoded SQL_ASCII: it takes the source's text (${encoding}) as UTF-8 bytes and will not check or convert it`
        : `the target is encoded ${facts.encoding}, the source ${encoding}: text with a character that ${facts.encoding} lacks is refused and halts its table`;
    findings.push(warningFinding('CF-5008', message, "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0;"));
  }
  if (facts.collation !== collation) {
    const message = `the databases collate differently (source ${collation}, target ${facts.collation}): ORDER BY and text ranges can give another order after the cut-over`;
    findings.push(infoFinding('CF-5008', message, `Where order matters: CREATE DATABASE … LC_COLLATE '${collation}' TEMPLATE template0;`));
  }
  return findings;
}
