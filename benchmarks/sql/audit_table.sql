-- Peer (b): what a city would write instead of a ledger. One table of what happened, filled by single INSERTs, and the
-- purpose-limitation rule (verdicts.md) as SQL over it when somebody asks. docs/benchmarks.md says what it leaves out.

-- name: tables
CREATE TABLE audit (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred    timestamptz NOT NULL,
    recorded    timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    source      text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL,
    subject     text COLLATE "C",
    kind        text COLLATE "C" NOT NULL,
    purposes    text[],   -- of a use or a share: the one it is for
    categories  text[],
    operations  text[],
    operation   text,     -- of a use; of a share always 'share'
    consent_id  text COLLATE "C",
    basis       text,
    legal_basis text,
    citation    text,
    body        text NOT NULL
);

-- The policies, with what each id is within (itself, and the ids above it) worked out once.
CREATE TABLE policies (
    number         bigint PRIMARY KEY,
    effective_from timestamptz NOT NULL
);
CREATE TABLE policy_words (
    policy bigint NOT NULL,
    what   text   NOT NULL,  -- purpose, category, operation, legal-basis
    id     text   NOT NULL,
    up     text[] NOT NULL,
    PRIMARY KEY (policy, what, id)
);
CREATE TABLE policy_consistent (
    policy  bigint NOT NULL,
    purpose text   NOT NULL,
    stated  text   NOT NULL,
    PRIMARY KEY (policy, purpose, stated)
);

-- name: indexes
CREATE UNIQUE INDEX audit_once ON audit (source, id, subject) NULLS NOT DISTINCT;
CREATE INDEX audit_log ON audit (subject, occurred DESC, seq DESC);
CREATE INDEX audit_kind ON audit (subject, kind, occurred);
CREATE INDEX audit_consent ON audit (subject, consent_id, occurred, seq) WHERE consent_id IS NOT NULL;

-- name: rule
-- One row for each category of a use or a share: the steps of `purpose-limitation`, the first that fits. It is inlined
-- into the question, so it is planned once. OFFSET 0: what an id is within is looked up once, not for every row.
CREATE FUNCTION purpose_limitation(j audit) RETURNS TABLE (category text, result text, code text)
LANGUAGE sql STABLE AS $$
    SELECT c.category, split_part(found.word, '/', 1), split_part(found.word, '/', 2)
    FROM (SELECT number FROM policies WHERE effective_from <= j.occurred
          ORDER BY effective_from DESC, number DESC LIMIT 1) AS policy
    CROSS JOIN LATERAL (
        SELECT coalesce(p.up, ARRAY[j.purposes[1]]) AS p_up, p.up IS NOT NULL AS known,
               coalesce(o.up, ARRAY[coalesce(j.operation, 'share')]) AS o_up
        FROM (VALUES (true)) AS one
        LEFT JOIN policy_words p ON p.policy = policy.number AND p.what = 'purpose' AND p.id = j.purposes[1]
        LEFT JOIN policy_words o
            ON o.policy = policy.number AND o.what = 'operation' AND o.id = coalesce(j.operation, 'share')
        OFFSET 0) AS use
    CROSS JOIN unnest(j.categories) AS c (category)
    CROSS JOIN LATERAL (
        SELECT coalesce((SELECT w.up FROM policy_words w
                         WHERE w.policy = policy.number AND w.what = 'category' AND w.id = c.category),
                        ARRAY[c.category]) AS c_up
        OFFSET 0) AS held
    CROSS JOIN LATERAL (
        SELECT coalesce(max(e.occurred), '-infinity') AS at
        FROM audit e
        WHERE e.subject = j.subject AND e.kind = 'data.erased' AND e.occurred <= j.occurred
          AND (e.categories IS NULL OR e.categories && held.c_up)
        OFFSET 0) AS erased
    CROSS JOIN LATERAL (SELECT CASE
        WHEN j.basis = 'law' THEN
            CASE WHEN j.citation <> '' AND EXISTS (SELECT 1 FROM policy_words w WHERE w.policy = policy.number
                                                   AND w.what = 'legal-basis' AND w.id = j.legal_basis)
                 THEN 'holds/law' ELSE 'violated/unknown-legal-basis' END
        WHEN use.known AND EXISTS (
            SELECT 1 FROM audit k CROSS JOIN unnest(k.purposes) AS q (id)
            CROSS JOIN LATERAL (SELECT coalesce((SELECT w.up FROM policy_words w WHERE w.policy = policy.number
                                                 AND w.what = 'purpose' AND w.id = q.id), ARRAY[q.id]) AS up
                                OFFSET 0) AS stated
            WHERE k.subject = j.subject AND k.kind = 'data.collected' AND k.occurred <= j.occurred
              AND k.occurred > erased.at AND k.categories && held.c_up AND q.id = ANY (use.p_up)
              AND EXISTS (SELECT 1 FROM audit n
                          WHERE n.subject = j.subject AND n.kind = 'notice.given' AND n.occurred <= k.occurred
                            AND n.categories && held.c_up AND n.purposes && stated.up))
            THEN 'holds/stated-purpose'
        WHEN use.known AND EXISTS (
            SELECT 1 FROM audit k CROSS JOIN unnest(k.purposes) AS q (id)
            CROSS JOIN LATERAL (SELECT coalesce((SELECT w.up FROM policy_words w WHERE w.policy = policy.number
                                                 AND w.what = 'purpose' AND w.id = q.id), ARRAY[q.id]) AS up
                                OFFSET 0) AS stated
            WHERE k.subject = j.subject AND k.kind = 'data.collected' AND k.occurred <= j.occurred
              AND k.occurred > erased.at AND k.categories && held.c_up
              AND EXISTS (SELECT 1 FROM policy_consistent s WHERE s.policy = policy.number
                          AND s.purpose = ANY (use.p_up) AND s.stated = ANY (stated.up))
              AND EXISTS (SELECT 1 FROM audit n
                          WHERE n.subject = j.subject AND n.kind = 'notice.given' AND n.occurred <= k.occurred
                            AND n.categories && held.c_up AND n.purposes && stated.up))
            THEN 'holds/consistent-purpose'
        WHEN EXISTS (
            SELECT 1 FROM audit g
            WHERE g.subject = j.subject AND g.kind = 'consent.given' AND g.occurred <= j.occurred
              AND (g.expires_at IS NULL OR j.occurred < g.expires_at)
              AND g.purposes && use.p_up AND (g.categories IS NULL OR g.categories && held.c_up)
              AND (g.operations IS NULL OR g.operations && use.o_up)
              AND NOT EXISTS (SELECT 1 FROM audit l
                              WHERE l.subject = j.subject AND l.consent_id = g.consent_id AND l.occurred <= j.occurred
                                AND (l.occurred, l.seq) > (g.occurred, g.seq)))
            THEN 'holds/consent'
        WHEN NOT use.known THEN 'violated/unknown-purpose'
        WHEN NOT EXISTS (
            SELECT 1 FROM audit k
            WHERE k.subject = j.subject AND k.kind = 'data.collected' AND k.occurred <= j.occurred
              AND k.occurred > erased.at AND k.categories && held.c_up)
            THEN 'unknown/no-collection-on-record'
        WHEN EXISTS (
            SELECT 1 FROM audit k CROSS JOIN unnest(k.purposes) AS q (id)
            CROSS JOIN LATERAL (SELECT coalesce((SELECT w.up FROM policy_words w WHERE w.policy = policy.number
                                                 AND w.what = 'purpose' AND w.id = q.id), ARRAY[q.id]) AS up
                                OFFSET 0) AS stated
            WHERE k.subject = j.subject AND k.kind = 'data.collected' AND k.occurred <= j.occurred
              AND k.occurred > erased.at AND k.categories && held.c_up
              AND (q.id = ANY (use.p_up)
                   OR EXISTS (SELECT 1 FROM policy_consistent s WHERE s.policy = policy.number
                              AND s.purpose = ANY (use.p_up) AND s.stated = ANY (stated.up))))
            THEN 'violated/purpose-not-told'
        ELSE 'violated/purpose-not-stated'
    END AS word) AS found
$$;

-- name: insert
INSERT INTO audit (occurred, expires_at, source, id, subject, kind, purposes, categories, operations, operation,
                   consent_id, basis, legal_basis, citation, body)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
RETURNING seq

-- name: copy
COPY audit (occurred, expires_at, source, id, subject, kind, purposes, categories, operations, operation, consent_id,
            basis, legal_basis, citation, body) FROM STDIN

-- name: verdict
SELECT a.subject, a.source, a.id, a.kind, a.body, f.category, f.result, f.code
FROM audit a CROSS JOIN LATERAL purpose_limitation(a) AS f
WHERE a.seq = %s

-- name: record
SELECT seq, subject, source, id, kind, occurred, body FROM audit WHERE seq = %s

-- name: log page
SELECT a.seq, a.kind, a.source, a.id, a.occurred, a.body, judged.outcome
FROM (SELECT * FROM audit
      WHERE subject = %s AND (%s::text IS NULL OR %s::text = ANY (purposes))
      ORDER BY occurred DESC, seq DESC LIMIT 50) AS page
JOIN audit a USING (seq)
LEFT JOIN LATERAL (
    SELECT CASE WHEN bool_or(f.result = 'violated') THEN 'inconsistent'
                WHEN coalesce(bool_and(f.result = 'holds'), false) THEN 'consistent'
                ELSE 'undetermined' END AS outcome
    FROM purpose_limitation(a) AS f
) AS judged ON a.kind IN ('data.used', 'data.shared')
ORDER BY a.occurred DESC, a.seq DESC

-- name: holdings
SELECT k.seq, k.occurred, k.source, k.purposes, c.category
FROM audit k CROSS JOIN unnest(k.categories) AS c (category)
WHERE k.subject = %s AND k.kind = 'data.collected'
  AND NOT EXISTS (SELECT 1 FROM audit e
                  WHERE e.subject = k.subject AND e.kind = 'data.erased' AND e.occurred >= k.occurred
                    AND (e.categories IS NULL OR c.category = ANY (e.categories)))
ORDER BY c.category, k.occurred, k.seq

-- name: consents
SELECT DISTINCT ON (consent_id) consent_id, kind, occurred, source, purposes, expires_at
FROM audit
WHERE subject = %s AND consent_id IS NOT NULL
ORDER BY consent_id, occurred DESC, seq DESC

-- name: numbers
SELECT a.source, a.id, a.seq
FROM unnest(%s::text[], %s::text[]) AS wanted (source, id)
JOIN audit a ON a.source = wanted.source AND a.id = wanted.id
