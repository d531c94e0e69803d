/** `approvals:` of the migration file: what people have to sign before an act. Guarantee: what is asked for can be given. */
import { z } from 'zod';
import { APPROVED_ACTS, personKey, type RequiredApproval } from '../migration/approvals.ts';
import { expected, whole } from './file-terms.ts';

const PEOPLE = 'a list of names';
const COUNT_MAX = 20;

const person = z.string(expected('a name')).trim().min(1, expected('a name')).max(100, expected('a name of at most 100 characters'));
const people = z
  .array(person, expected(PEOPLE))
  .min(1, { error: 'expected at least one name' })
  .superRefine((names, context) => {
    names.forEach((name, i) => {
      if (names.findIndex((one) => personKey(one) === personKey(name)) < i)
        context.addIssue({ code: 'custom', path: [i], message: 'stands here twice: a person signs once' });
    });
  });
const countOfPeople = z
  .strictObject({ count: whole(1, COUNT_MAX), of: people }, expected('a block of count and of'))
  .superRefine(({ count, of }, context) => {
    if (count > of.length) context.addIssue({ code: 'custom', path: ['count'], message: 'expected at most as many as are named under of' });
  });

const REQUIREMENT = 'how many people, a list of names, or a block of count and of';
const requirement = z.union([whole(1, COUNT_MAX), people, countOfPeople], expected(REQUIREMENT));
type Requirement = z.output<typeof requirement>;

const ITEM_PATTERN = /^[a-z][a-z0-9-]{0,62}$/;
const checklist = z
  .record(z.string(), requirement, expected('a block of item: who signs it'))
  .superRefine((items, context) => {
    for (const name of Object.keys(items)) {
      const isAct = (APPROVED_ACTS as readonly string[]).includes(name);
      const message = isAct ? 'is the name of an act: write it beside checklist' : 'expected a name of small letters, digits and hyphens';
      if (isAct || !ITEM_PATTERN.test(name)) context.addIssue({ code: 'custom', path: [name], message });
    }
  })
  .optional();

export const approvals: z.ZodOptional<z.ZodObject<Shape, z.core.$strict>> = z
  .strictObject(
    {
      cutover: requirement.optional().describe('Signed before the cut-over: so many people, these people, or so many of these.'),
      rollback: requirement.optional().describe('Signed before a rollback. Think twice: it is asked for when things go wrong.'),
      signoff: requirement.optional().describe('Who signs the migration off (crossfade signoff).'),
      'repair-deletes': requirement.optional().describe('Signed before repair takes away rows that only the target has.'),
      cleanup: requirement.optional().describe('Signed before slots, publications and fences are taken away.'),
      checklist: checklist.describe('Items of your own; the cut-over waits until each is signed.'),
    },
    expected('a block of acts, each with who signs it'),
  )
  .optional()
  .describe('What people have to sign (crossfade approve), for the plan as it then is. Absent: nothing.');
type Shape = Record<(typeof APPROVED_ACTS)[number], z.ZodOptional<typeof requirement>> & { checklist: typeof checklist };

export function buildApprovals({ checklist: items = {}, ...acts }: NonNullable<z.output<typeof approvals>>): RequiredApproval[] {
  const one = (subject: string, asked: Requirement | undefined, isItem: boolean): RequiredApproval[] =>
    asked === undefined ? [] : [{ subject, isItem, ...countOf(asked) }];
  return [
    ...APPROVED_ACTS.flatMap((act) => one(act, acts[act], false)),
    ...Object.entries(items).flatMap(([subject, asked]) => one(subject, asked, true)),
  ];
}

function countOf(asked: Requirement): Pick<RequiredApproval, 'count' | 'of'> {
  if (typeof asked === 'number') return { count: asked };
  return Array.isArray(asked) ? { count: asked.length, of: asked } : asked;
}
