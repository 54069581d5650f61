"""The queries behind rules: what the PostgreSQL catalog asks of the rows of tables. What becomes of it is `rules`'."""

# Partitions count as what their parent refers to: a reference to the parent asks for a row in one of them.
TABLES = """
WITH RECURSIVE edge AS (
    SELECT conrelid AS child, confrelid AS parent FROM pg_constraint WHERE contype = 'f'
    UNION ALL
    SELECT i.inhparent, i.inhrelid FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent AND c.relkind = 'p'
), needed AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname || '.' || c.relname = ANY(%(names)s) AND c.relkind IN ('r', 'p')
    UNION
    SELECT e.parent FROM needed t JOIN edge e ON e.child = t.oid
)
SELECT c.oid, n.nspname || '.' || c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind = 'r',
       ARRAY(SELECT i.inhrelid::bigint FROM pg_inherits i WHERE i.inhparent = c.oid AND c.relkind = 'p'),
       CASE WHEN c.relispartition THEN pg_get_partition_constraintdef(c.oid) END
FROM needed t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 2
"""

COLUMNS = """
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
       a.attidentity <> '', a.attgenerated <> ''
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY(%(oids)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""

KINDS = """
SELECT format_type(t.oid, NULL), CASE WHEN t.typtype = 'b' THEN 'b' ELSE t.typtype END,
       CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)
                      WHEN 'r' THEN format_type(r.rngsubtype, NULL) WHEN 'm' THEN format_type(m.rngtypid, NULL)
                      ELSE CASE t.typcategory WHEN 'S' THEN 'text' WHEN 'N' THEN 'numeric' ELSE '' END END,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
           || ARRAY(SELECT a.attname::text FROM pg_attribute a
                    WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped),
       t.typnotnull,
       ARRAY(SELECT ARRAY[k.conname::text, pg_get_constraintdef(k.oid)] FROM pg_constraint k
             WHERE k.contypid = t.oid AND k.contype = 'c')
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
LEFT JOIN pg_range r ON r.rngtypid = t.oid LEFT JOIN pg_range m ON m.rngmultitypid = t.oid
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND t.typelem = 0
  AND (t.typtype IN ('e', 'd', 'r', 'm', 'b') OR c.relkind = 'c')
"""

CONSTRAINTS = """
SELECT k.conrelid, k.conname, k.contype, pg_get_constraintdef(k.oid), k.confrelid, k.confmatchtype = 'f',
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(number, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(number, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place)
FROM pg_constraint k LEFT JOIN pg_constraint parent ON parent.oid = k.conparentid
WHERE k.conrelid = ANY(%(oids)s::oid[]) AND k.contype IN ('c', 'f')
  AND parent.conrelid IS DISTINCT FROM k.conrelid  -- one a partition of what is referred to, beside the one that counts
ORDER BY k.conrelid, k.conname
"""

KEYS = """
SELECT i.indrelid, c.relname, pg_get_indexdef(i.indexrelid), coalesce(pg_get_expr(i.indexprs, i.indrelid), ''),
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY u(number, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.number
             WHERE u.place <= i.indnkeyatts ORDER BY u.place),
       NOT i.indimmediate
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY(%(oids)s::oid[]) AND (i.indisunique OR i.indisexclusion) ORDER BY i.indrelid, c.relname
"""
