-- The queue of those who answer cases: the ones that wait, and the ones that were answered, in their order.
CREATE INDEX cases_waiting ON cases (kind, opened, "partition", opened_offset) WHERE resolved IS NULL;
CREATE INDEX cases_answered ON cases (kind, resolved, "partition", opened_offset) WHERE resolved IS NOT NULL;
CREATE INDEX cases_opened ON cases ("partition", opened_offset);
