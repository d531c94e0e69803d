-- By the tables' owner, as `crossfade check` prints it for deploy/compose/migration.yaml.
CREATE PUBLICATION "shop" FOR TABLE
  ONLY "public"."Notes & ""Queries""", ONLY "public"."tbl_bonus", ONLY "public"."tbl_cat", ONLY "public"."tbl_cust", ONLY "public"."tbl_doc", ONLY "public"."tbl_event",
  ONLY "public"."tbl_giro", ONLY "public"."tbl_ord", ONLY "public"."tbl_ord_pos", "public"."tbl_payment", ONLY "public"."tbl_ping",
  ONLY "public"."tbl_rate", ONLY "public"."tbl_savings", ONLY "public"."tbl_session"
  WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = false);
