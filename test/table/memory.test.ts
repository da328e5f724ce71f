import { memoryTable } from '../../src/table/memory.ts';
import { tableContract } from './contract.ts';

tableContract('memory', async () => ({ table: memoryTable() }));
