import { testSmallForms } from '#test/support/small-proofs.ts';

testSmallForms('red-twins');
