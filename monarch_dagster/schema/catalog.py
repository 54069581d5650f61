"""The queries behind facts: what the PostgreSQL catalog says of some schemas, as PostgreSQL itself formats it.

Each takes `schemas` or, since a join less is planned faster, their oids as `namespaces`; it leaves out what belongs to
an extension. What becomes of the rows is `facts`'.
"""

# How values are read from texts and printed follows from a session's settings, whatever role, database or client say.
SPELLING = {
    "standard_conforming_strings": "on",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
# With this path, types and expressions are printed with their schema.
PRINTING = {"search_path": "pg_catalog", "quote_all_identifiers": "off", **SPELLING}
# Nobody has counted the catalog of a database that was just made, so the planner takes it for small: joined row by row,
# the columns of 1,500 tables take four times as long.
PLANNING = {"enable_nestloop": "off", "work_mem": "64MB"}
SETTINGS = {**PRINTING, **PLANNING}
READ_SETTINGS = "SELECT " + ", ".join(f"current_setting('{name}')" for name in SETTINGS)
APPLY_SETTINGS = "SELECT " + ", ".join(f"set_config('{name}', %s, true)" for name in SETTINGS)

# Neither PostgreSQL's, nor Alembic's, nor `public`.
USER_SCHEMAS = """
SELECT nspname FROM pg_namespace
WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'alembic', 'public') AND nspname !~ '^pg_temp_'
  AND nspname !~ '^pg_toast_temp_' ORDER BY 1
"""

NAMESPACES = """
SELECT oid, nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = ANY(%(schemas)s)
"""

RELATIONS = """
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, obj_description(c.oid, 'pg_class'),
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
       CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END,
       (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
          FROM pg_inherits i WHERE i.inhrelid = c.oid),
       concat_ws(', ', CASE WHEN c.relrowsecurity THEN 'enabled' END,
                 CASE WHEN c.relforcerowsecurity THEN 'FORCE' END),
       (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(c.reloptions) o)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT EXISTS (
    SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
"""

# In the order of the table. From 18 on a NOT NULL that holds for new rows only is a constraint that is not validated.
COLUMNS = """
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, k.oid IS NOT NULL, a.attidentity,
       a.attgenerated, pg_get_expr(d.adbin, d.adrelid),
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
       CASE WHEN (s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle)
                 <> (1, 1, 1, CASE s.seqtypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647
                                              ELSE 9223372036854775807 END, 1, false)
            THEN format('(start %%s increment %%s min %%s max %%s cache %%s%%s)', s.seqstart, s.seqincrement, s.seqmin,
                        s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' cycle' END) END,
       e.description
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_description e ON e.classoid = 'pg_class'::regclass AND e.objoid = a.attrelid AND e.objsubid = a.attnum
LEFT JOIN pg_depend i ON i.refclassid = 'pg_class'::regclass AND i.refobjid = a.attrelid AND i.refobjsubid = a.attnum
                     AND i.classid = 'pg_class'::regclass AND i.deptype = 'i' AND a.attidentity <> ''
LEFT JOIN pg_sequence s ON s.seqrelid = i.objid
LEFT JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated
                         AND k.conkey[1] = a.attnum
WHERE c.relnamespace = ANY(%(namespaces)s::oid[]) AND c.relkind IN ('r', 'p', 'f') AND a.attnum > 0
  AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

# From 18 on NOT NULL is a constraint in the catalog (contype n); here it is an attribute of the column on every major.
CONSTRAINTS = """
SELECT k.conrelid, k.conname, pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint')
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE c.relnamespace = ANY(%(namespaces)s::oid[]) AND k.contype IN ('c', 'f', 'p', 'u', 'x')
"""

INDEXES = """
SELECT i.indrelid, c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid, obj_description(c.oid, 'pg_class')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = ANY(%(namespaces)s::oid[])
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
"""

# What hangs on relations; of the columns of views, what their SELECT does not say.
ATTACHED = """
SELECT t.tgrelid, 'trigger ' || t.tgname,
       pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'O' THEN '' WHEN 'D' THEN ' DISABLED'
                                                    WHEN 'R' THEN ' ENABLED REPLICA' ELSE ' ENABLED ALWAYS' END
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = ANY(%(namespaces)s::oid[]) AND NOT t.tgisinternal
UNION ALL
SELECT p.polrelid, 'policy ' || p.polname,
       concat_ws(' ', p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid),
                 pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
WHERE c.relnamespace = ANY(%(namespaces)s::oid[])
UNION ALL
SELECT r.ev_class, 'rule ' || r.rulename,
       pg_get_ruledef(r.oid) || CASE r.ev_enabled WHEN 'O' THEN '' WHEN 'D' THEN ' DISABLED'
                                                  WHEN 'R' THEN ' ENABLED REPLICA' ELSE ' ENABLED ALWAYS' END
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
WHERE c.relnamespace = ANY(%(namespaces)s::oid[]) AND r.rulename <> '_RETURN'
UNION ALL
SELECT s.stxrelid, 'statistics ' || s.stxname, pg_get_statisticsobjdef(s.oid)
FROM pg_statistic_ext s JOIN pg_class c ON c.oid = s.stxrelid
WHERE c.relnamespace = ANY(%(namespaces)s::oid[])
UNION ALL
SELECT a.attrelid, 'comment on column ' || a.attname, d.description
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = a.attnum
WHERE c.relnamespace = ANY(%(namespaces)s::oid[]) AND c.relkind IN ('v', 'm') AND a.attnum > 0
UNION ALL
SELECT a.attrelid, 'default of column ' || a.attname, pg_get_expr(d.adbin, d.adrelid)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = ANY(%(namespaces)s::oid[]) AND c.relkind = 'v'
"""

TYPES = """
SELECT CASE t.typtype WHEN 'e' THEN 'enum ' WHEN 'd' THEN 'domain ' WHEN 'r' THEN 'range type '
                      ELSE 'composite type ' END || n.nspname || '.' || t.typname,
       CASE t.typtype WHEN 'e' THEN (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                                       FROM pg_enum e WHERE e.enumtypid = t.oid)
                      WHEN 'd' THEN concat_ws(' ', format_type(t.typbasetype, t.typtypmod), t.typdefault,
                            CASE WHEN t.typnotnull THEN 'NOT NULL' END,
                            (SELECT string_agg(pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname)
                               FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'))
                      WHEN 'c' THEN (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', '
                                                       ORDER BY a.attnum)
                                       FROM pg_attribute a WHERE a.attrelid = t.typrelid AND NOT a.attisdropped)
                      ELSE '' END,
       obj_description(t.oid, 'pg_type')
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE n.nspname = ANY(%(schemas)s) AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = t.oid AND e.classid = 'pg_type'::regclass AND e.deptype = 'e')
"""

# A sequence that an identity column owns is an attribute of that column.
SEQUENCES = """
SELECT 'sequence ' || n.nspname || '.' || c.relname,
       concat_ws(' ', format_type(s.seqtypid, NULL), 'start', s.seqstart, 'increment', s.seqincrement,
                 'min', s.seqmin, 'max', s.seqmax, 'cache', s.seqcache, CASE WHEN s.seqcycle THEN 'cycle' END,
                 'owned by ' || d.refobjid::regclass::text || '.' || quote_ident(a.attname)),
       obj_description(c.oid, 'pg_class')
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE n.nspname = ANY(%(schemas)s) AND d.deptype IS DISTINCT FROM 'i'
  AND NOT EXISTS (SELECT FROM pg_depend e
                   WHERE e.objid = c.oid AND e.classid = 'pg_class'::regclass AND e.deptype = 'e')
"""

FUNCTIONS = """
SELECT 'function ' || n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       CASE WHEN p.prokind IN ('f', 'p', 'w') THEN pg_get_functiondef(p.oid) ELSE 'aggregate ' || p.prosrc END,
       obj_description(p.oid, 'pg_proc')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = ANY(%(schemas)s)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e')
"""

# All the rest that lives in a schema. Default privileges are grants; the other classes have a query of their own.
OTHERS = """
SELECT o.type || ' ' || o.identity
FROM pg_namespace n
JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid AND d.deptype = 'n'
LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) o
WHERE n.nspname = ANY(%(schemas)s)
  AND d.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_statistic_ext'::regclass,
                        'pg_default_acl'::regclass)
  AND coalesce(t.typtype, 'b') NOT IN ('e', 'd', 'r', 'm', 'c')
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
"""

# What the SELECT of a view refers to, by relation and column; of another view, an enum type or a sequence as a whole.
DEPENDENCIES = """
SELECT DISTINCT v.oid, CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                            WHEN 'f' THEN 'foreign table' ELSE 'table' END || ' ' || n.nspname || '.' || c.relname,
       CASE WHEN c.relkind IN ('r', 'p', 'f') THEN coalesce(a.attname, '') ELSE '' END
FROM pg_class v
JOIN pg_rewrite r ON r.ev_class = v.oid AND r.rulename = '_RETURN'
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND d.refobjsubid > 0
WHERE v.relnamespace = ANY(%(namespaces)s::oid[]) AND v.relkind IN ('v', 'm') AND d.refobjid <> v.oid
UNION
SELECT v.oid, 'enum ' || n.nspname || '.' || t.typname, ''
FROM pg_class v
JOIN pg_rewrite r ON r.ev_class = v.oid AND r.rulename = '_RETURN'
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_type'::regclass
JOIN pg_type u ON u.oid = d.refobjid JOIN pg_type t ON t.oid = CASE WHEN u.typelem > 0 THEN u.typelem ELSE u.oid END
JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE v.relnamespace = ANY(%(namespaces)s::oid[]) AND v.relkind IN ('v', 'm') AND t.typtype = 'e'
"""
