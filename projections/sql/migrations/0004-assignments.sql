-- Which worker writes each partition: whoever takes one over raises its epoch, and a batch of an older epoch is refused.
-- Not a view: which worker may write each partition now (projections.assignments). `released`: it has let go by itself.
CREATE TABLE assignments (
    "partition" integer PRIMARY KEY,
    epoch       bigint      NOT NULL,
    worker      text        NOT NULL,
    released    boolean     NOT NULL DEFAULT false,
    since       timestamptz NOT NULL DEFAULT now()
);
