-- What one side knows about itself and the link, as one JSON text: one connection instead of ten.
SELECT json_build_object(
  'version', current_setting('server_version'),
  'standby', pg_is_in_recovery(),
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'lsn', lsn::text,
  'bytes', lsn - '0/0'::pg_lsn,
  'received', pg_last_wal_receive_lsn()::text,
  'paused', CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END,
  'replayed_at', to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
  'read_only', current_setting('default_transaction_read_only')::boolean,
  'monitor', pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
  'senders', (
    SELECT json_agg(json_build_object('user', usename, 'name', application_name, 'state', state))
    FROM pg_stat_replication),
  'receiver', (SELECT json_build_object('status', status, 'host', sender_host, 'port', sender_port)
    FROM pg_stat_wal_receiver),
  'long_transactions', (
    SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND xact_start < clock_timestamp() - interval '5 minutes'),
  'prepared_transactions', (SELECT count(*) FROM pg_prepared_xacts),
  'logical_slots', (SELECT json_agg(slot_name) FROM pg_replication_slots WHERE slot_type = 'logical'),
  'canary', CASE WHEN to_regclass(%(canary)s) IS NOT NULL THEN has_table_privilege(to_regclass(%(canary)s), 'INSERT') END
)::text AS side
FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn) AS here
