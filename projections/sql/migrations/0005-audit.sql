-- What an auditor looks for are the verdicts that are not consistent: few, so that live writes hardly pay for finding them.
CREATE INDEX verdicts_not_consistent ON verdicts ("partition", "offset") WHERE known_until IS NULL AND outcome <> 'consistent';
