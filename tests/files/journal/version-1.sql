PRAGMA application_id = 1380403788;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,          -- engine time
        wall_unix_ms INTEGER NOT NULL,   -- the wall clock at the commit, a label
        version INTEGER NOT NULL,        -- of the event types
        body TEXT NOT NULL,              -- JSON
        hash BLOB NOT NULL
    ) STRICT;
INSERT INTO "events" VALUES(1,1795289028265,1795289028265,1,'{"at":1795289028265,"what":{"journal_created":{"journal":"aac6ce66-007a-4c60-954e-2d38ff20465f"}}}',X'C565FF61DBF1ECCD445E8C3E2612EA547304BDEFA2457BA2539A0CFA644F1865');
INSERT INTO "events" VALUES(2,1795289028280,1795289028280,1,'{"at":1795289028280,"what":{"setup_loaded":{"fingerprint":"7e2e34c2159f9fb5b26b8b91d25fd753aa1fc2af577124580e0b4f2afe908660","degraded":null}}}',X'D75869F333F6FC47A9FE9BFDB512B9BDC109F3C5048E3EE0AED7A71D6770E1B5');
INSERT INTO "events" VALUES(3,1795289028291,1795289028291,1,'{"at":1795289028291,"what":{"restarted":{"gap":0,"alive":[]}}}',X'A463E4ACB5E85A7969FA5B2AA17DE4134F5EBE1D5748838A323B599D6864841F');
INSERT INTO "events" VALUES(4,1795289028358,1795289028358,1,'{"at":1795289028358,"what":{"trigger_pending":{"key":{"target":"app","trigger":"Errors","labels":{}},"window":1000,"evidence":{"value":0.123,"threshold":0.05,"condition":"errors > 5%","shown":"12.3%","newest_sample":1795289028304,"labels":{"__name__":"app_error_ratio","instance":"127.0.0.1:18003","job":"app"}}}}}',X'5629244CE2776CFD0B10E2D59EF57FE1A353C98195479A69D050F2C017E54757');
INSERT INTO "events" VALUES(5,1795289029305,1795289029305,1,'{"at":1795289029305,"what":{"trigger_firing":{"key":{"target":"app","trigger":"Errors","labels":{}},"since":1795289028304,"evidence":{"value":0.123,"threshold":0.05,"condition":"errors > 5%","shown":"12.3%","newest_sample":1795289029055,"labels":{"__name__":"app_error_ratio","instance":"127.0.0.1:18003","job":"app"}}}}}',X'1B07AC14E6EDA2DA4AB67B9A136C3D52F47FF0618BA1D3580D448B5D7AA74AF3');
INSERT INTO "events" VALUES(6,1795289029305,1795289029305,1,'{"at":1795289029305,"what":{"incident_opened":{"incident":1,"cause":{"trigger":{"target":"app","trigger":"Errors","labels":{}}},"target":"app","severity":"critical","reason":"errors > 5% for 1s: measured 12.3%","since":1795289028304,"evidence":{"value":0.123,"threshold":0.05,"condition":"errors > 5%","shown":"12.3%","newest_sample":1795289029055,"labels":{"__name__":"app_error_ratio","instance":"127.0.0.1:18003","job":"app"}},"runbook":null,"notify":["pager"],"policy":"on-call","due":[]}}}',X'AEDCBBB7AF402093C2EBDFCDA25DA54F8274416D32C79B2E5FEC5DAA16319A1B');
INSERT INTO "events" VALUES(7,1795289029305,1795289029305,1,'{"at":1795289029305,"what":{"rollback_decided":{"rollback":1,"incident":1,"target":"app","plan":"back","deadline":1795289329305,"steps":["switch"],"plan_fingerprint":"d72d6d9ebfe6ec3441d2bb4d57cf7324058e5106ea18f45c6a5b9a69226f7334"}}}',X'DEA321EBEDB922289ACAD1B1CF3E74B4FF3A79CFEFBC44C2670E61C1C1A3D996');
INSERT INTO "events" VALUES(8,1795289029305,1795289029305,1,'{"at":1795289029305,"what":{"page_decided":{"incident":1,"message":{"kind":"trigger","dedup_key":"aac6ce66-007a-4c60-954e-2d38ff20465f-I1","severity":"critical","summary":"app: Errors: errors > 5% for 1s: measured 12.3%","details":["Rollback R1 by plan `back` has begun."],"facts":{"incident":1,"journal":"aac6ce66-007a-4c60-954e-2d38ff20465f","target":"app","cause":"Errors","labels":{},"severity":"critical","reason":"errors > 5% for 1s: measured 12.3%","value":0.123,"threshold":0.05,"since":1795289028304,"since_unix_ms":1795289028304,"version":null,"previous_version":null,"runbook":null},"decided_unix_ms":1795289029305,"unjournaled":false},"deliveries":[[1,"pager"]],"tried":[],"instead_of":null}}}',X'CB50F3FE5CE7507AF448D4EE3460B01BC69C2B029026DAF0EB0C9105F7D8FCD1');
INSERT INTO "events" VALUES(9,1795289029305,1795289029305,1,'{"at":1795289029305,"what":{"step_intended":{"order":{"effect":2,"key":"aac6ce66-007a-4c60-954e-2d38ff20465f-E2","rollback":1,"plan":"back","step":"switch","action":{"exec":{"argv":["/srv/app/step.sh"]}},"timeout":20000,"facts":{"incident":1,"journal":"aac6ce66-007a-4c60-954e-2d38ff20465f","target":"app","cause":"Errors","labels":{},"severity":"critical","reason":"errors > 5% for 1s: measured 12.3%","value":0.123,"threshold":0.05,"since":1795289028304,"since_unix_ms":1795289028304,"version":null,"previous_version":null,"runbook":null}},"index":0,"overdue_at":1795289059305}}}',X'0838D76A6998443AA15D4E14F9DB07B10CDBB24AF9854969C2625BD67DD158C7');
INSERT INTO "events" VALUES(10,1795289029324,1795289029324,1,'{"at":1795289029324,"what":{"step_started":{"rollback":1,"effect":2,"handle":{"process":{"pid":30524,"start_ticks":3433591,"boot_id":"672fa560-29b8-48d6-b042-6805b244bc80"}}}}}',X'1080D1C561B255A54D7DD28202C14B264C49511EAFBF67668189F9C85594FF3A');
INSERT INTO "events" VALUES(11,1795289029336,1795289029337,1,'{"at":1795289029336,"what":{"delivery_reported":{"effect":1,"receiver":"pager","report":{"accepted":"PagerDuty says: Event processed"}}}}',X'F328720E95519BF7CE585C8BA753A0A136152FB05DD08688B1FF672EA8B0A9A8');
INSERT INTO "events" VALUES(12,1795289029344,1795289029344,1,'{"at":1795289029344,"what":{"step_ended":{"rollback":1,"effect":2,"ending":{"result":"succeeded","took":2,"output":"switching to blue\ndone: 3 of 3 backends"}}}}',X'F6B937EB8AF56C917591D3B15A86C04E4EA19A680B9F926606BF49225E18D58E');
INSERT INTO "events" VALUES(13,1795289029344,1795289029344,1,'{"at":1795289029344,"what":{"verification_started":{"rollback":1,"not_before":1795289029644,"until":1795289089344}}}',X'C6CC56C00BC74C631DA27F1686833D30943E41A038E047A92D6BC836FD7A12FE');
INSERT INTO "events" VALUES(14,1795289029562,1795289029562,1,'{"at":1795289029562,"what":{"verification_saw":{"rollback":1,"checks":[{"condition":"errors < 5%","verdict":"no_data","evidence":null}]}}}',X'303DF4E9053FAF28AAB12ECF49D8BB43662FD01111B1A409D1693B08945EC3FF');
INSERT INTO "events" VALUES(15,1795289029562,1795289029562,1,'{"at":1795289029562,"what":{"trigger_cleared":{"key":{"target":"app","trigger":"Errors","labels":{}},"evidence":{"value":0.004,"threshold":0.05,"condition":"errors > 5%","shown":"0.4%","newest_sample":1795289029555,"labels":{"__name__":"app_error_ratio","instance":"127.0.0.1:18003","job":"app"}},"removed":false}}}',X'43AA3B719C8E26A7393A7E359A54A34B672B04E6C899AD570DE4E62D1556BFF3');
INSERT INTO "events" VALUES(16,1795289029813,1795289029813,1,'{"at":1795289029813,"what":{"verification_saw":{"rollback":1,"checks":[{"condition":"errors < 5%","verdict":"holds","evidence":{"value":0.004,"threshold":0.05,"condition":"errors < 5%","shown":"0.4%","newest_sample":1795289029805,"labels":{"__name__":"app_error_ratio","instance":"127.0.0.1:18003","job":"app"}}}]}}}',X'1F73D6411848DA7492271A7443099D6DC869F6C236132885D97311A840D3F534');
INSERT INTO "events" VALUES(17,1795289029813,1795289029813,1,'{"at":1795289029813,"what":{"rollback_ended":{"rollback":1,"outcome":"succeeded","reason":"every step was done and the verification passed"}}}',X'9B6014FA0CB5E0D7948E0C6335E30FC9864E558AD944FAF10F0ACCB9039D83E3');
INSERT INTO "events" VALUES(18,1795289029813,1795289029813,1,'{"at":1795289029813,"what":{"page_decided":{"incident":1,"message":{"kind":"update","dedup_key":"aac6ce66-007a-4c60-954e-2d38ff20465f-I1","severity":"critical","summary":"app: rolled back by `back` in 508ms, verified","details":["Began because: errors > 5% for 1s: measured 12.3%","Step switch: done in 2ms"],"facts":{"incident":1,"journal":"aac6ce66-007a-4c60-954e-2d38ff20465f","target":"app","cause":"Errors","labels":{},"severity":"critical","reason":"errors > 5% for 1s: measured 12.3%","value":0.123,"threshold":0.05,"since":1795289028304,"since_unix_ms":1795289028304,"version":null,"previous_version":null,"runbook":null},"decided_unix_ms":1795289029813,"unjournaled":false},"deliveries":[[3,"pager"]],"tried":[],"instead_of":null}}}',X'E0775147EAA08ECFD8245715A75F0E3DDA16866F984C0EFCB716A618F9C8E822');
INSERT INTO "events" VALUES(19,1795289029813,1795289029813,1,'{"at":1795289029813,"what":{"page_decided":{"incident":1,"message":{"kind":"resolve","dedup_key":"aac6ce66-007a-4c60-954e-2d38ff20465f-I1","severity":"critical","summary":"app: Errors: the condition is no longer met","details":["It lasted 1s500ms. It had been opened because: errors > 5% for 1s: measured 12.3%"],"facts":{"incident":1,"journal":"aac6ce66-007a-4c60-954e-2d38ff20465f","target":"app","cause":"Errors","labels":{},"severity":"critical","reason":"errors > 5% for 1s: measured 12.3%","value":0.123,"threshold":0.05,"since":1795289028304,"since_unix_ms":1795289028304,"version":null,"previous_version":null,"runbook":null},"decided_unix_ms":1795289029813,"unjournaled":false},"deliveries":[[4,"pager"]],"tried":[],"instead_of":null}}}',X'5F26FFF0B1FA712FFD4134857AA4934CD43237B9BA30175A448C7A6F51A7930F');
INSERT INTO "events" VALUES(20,1795289029813,1795289029813,1,'{"at":1795289029813,"what":{"incident_resolved":{"incident":1,"reason":"the condition is no longer met"}}}',X'90F74138D906829F8C3B36FC4FDAEEA854D000F332A42781AB32DB37CCB90C62');
INSERT INTO "events" VALUES(21,1795289029820,1795289029820,1,'{"at":1795289029820,"what":{"delivery_reported":{"effect":3,"receiver":"pager","report":{"accepted":"PagerDuty says: Event processed"}}}}',X'F590EA93EC4F17BDF812DADEC9E0F553DB4304F980FDF66306224ACAB8918834');
INSERT INTO "events" VALUES(22,1795289029825,1795289029825,1,'{"at":1795289029825,"what":{"delivery_reported":{"effect":4,"receiver":"pager","report":{"accepted":"PagerDuty says: Event processed"}}}}',X'EFA7DE3171DC2E95395AAD174C6CD0D2EE94D0438A13B157666E7D1C1B2CC101');
INSERT INTO "events" VALUES(23,1795289036968,1795289036969,1,'{"at":1795289036968,"what":"stopping"}',X'85AF1CC752304C8BF27E146838D62EEBF1BCEEB2C7293C16714ED26AA0E04AB2');
CREATE TABLE facts (
        name TEXT PRIMARY KEY,
        body TEXT NOT NULL,              -- JSON
        digest BLOB NOT NULL             -- SHA-256(name || 0x00 || body)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "facts" VALUES('epoch','1',X'8E4226C1BE61E7300CF89971709EC77714336DA2C11817F41D495F320D746ADC');
INSERT INTO "facts" VALUES('good_setup','{"fingerprint":"7e2e34c2159f9fb5b26b8b91d25fd753aa1fc2af577124580e0b4f2afe908660","files":[["rearguard.yaml","rules: [rules/*.yaml]\nstate: /srv/app/state\ncontrol: /srv/app/control.sock\nreceivers:\n  pager: { pagerduty: { routing_key: { file: pager.key }, url: ''http://127.0.0.1:18003'' } }\nescalations:\n  on-call: [{ notify: [pager] }]\ntargets:\n  app: { mode: armed, plans: [back] }\nsources:\n  app: { scrape: ''http://127.0.0.1:18003/metrics'', every: 250ms, timeout: 250ms }\nrollbacks:\n  back:\n    deadline: 5m\n    steps:\n      - { name: switch, exec: [/srv/app/step.sh], timeout: 20s }\n    verify: { warm_up: 300ms, within: 1m, conditions: [''errors < 5%''] }\n"],["rules/app.yaml","target: app\nsources: [app]\nindicators:\n  errors: { unit: ratio, expr: app_error_ratio }\ntriggers:\n  - { name: Errors, when: errors > 5%, for: 1s, severity: critical, then: { rollback: back, page: on-call } }\n"]]}',X'9CFF2481D8FCFF2752C187FB537345F1FA7746B5B220B3E3600AF842815769F8');
INSERT INTO "facts" VALUES('journal','"aac6ce66-007a-4c60-954e-2d38ff20465f"',X'9F1043BF192E64B4094364866959839153E88979C52B48A5E2FDD55BB4F323BB');
INSERT INTO "facts" VALUES('last_commit','{"clock":{"engine":1795289036968,"boot_id":"672fa560-29b8-48d6-b042-6805b244bc80","boottime_ms":34343568,"wall_unix_ms":1795289036969},"head":{"seq":23,"hash":"85af1cc752304c8bf27e146838d62eebf1bceeb2c7293c16714ed26aa0e04ab2"}}',X'02F27BE9E8EADFB54B416A65DEDCB57E3872B71F714AEEB6D07E830DF93ADC25');
CREATE TABLE incident_events (
        incident INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (incident, seq)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "incident_events" VALUES(1,6);
INSERT INTO "incident_events" VALUES(1,7);
INSERT INTO "incident_events" VALUES(1,8);
INSERT INTO "incident_events" VALUES(1,9);
INSERT INTO "incident_events" VALUES(1,10);
INSERT INTO "incident_events" VALUES(1,11);
INSERT INTO "incident_events" VALUES(1,12);
INSERT INTO "incident_events" VALUES(1,13);
INSERT INTO "incident_events" VALUES(1,14);
INSERT INTO "incident_events" VALUES(1,15);
INSERT INTO "incident_events" VALUES(1,16);
INSERT INTO "incident_events" VALUES(1,17);
INSERT INTO "incident_events" VALUES(1,18);
INSERT INTO "incident_events" VALUES(1,19);
INSERT INTO "incident_events" VALUES(1,20);
INSERT INTO "incident_events" VALUES(1,21);
INSERT INTO "incident_events" VALUES(1,22);
CREATE TABLE incidents (
        id INTEGER PRIMARY KEY,
        target TEXT NOT NULL,
        cause TEXT NOT NULL,             -- JSON
        severity TEXT NOT NULL,
        reason TEXT NOT NULL,
        state TEXT NOT NULL,             -- open, resolved
        opened_at_ms INTEGER NOT NULL,   -- engine time
        opened_unix_ms INTEGER NOT NULL,
        resolved_at_ms INTEGER,
        resolved_unix_ms INTEGER,
        resolution TEXT
    ) STRICT;
INSERT INTO "incidents" VALUES(1,'app','{"trigger":{"target":"app","trigger":"Errors","labels":{}}}','critical','errors > 5% for 1s: measured 12.3%','resolved',1795289029305,1795289029305,1795289029813,1795289029813,'the condition is no longer met');
CREATE TABLE intents (
        effect INTEGER PRIMARY KEY,
        class TEXT NOT NULL,             -- act, page
        payload TEXT NOT NULL,           -- JSON of the effect
        intended_seq INTEGER NOT NULL,
        released_seq INTEGER,
        abandoned_seq INTEGER,
        started_seq INTEGER,
        ended_seq INTEGER
    ) STRICT;
INSERT INTO "intents" VALUES(1,'page','{"deliver":{"effect":1,"receiver":"pager","message":{"kind":"trigger","dedup_key":"aac6ce66-007a-4c60-954e-2d38ff20465f-I1","severity":"critical","summary":"app: Errors: errors > 5% for 1s: measured 12.3%","details":["Rollback R1 by plan `back` has begun."],"facts":{"incident":1,"journal":"aac6ce66-007a-4c60-954e-2d38ff20465f","target":"app","cause":"Errors","labels":{},"severity":"critical","reason":"errors > 5% for 1s: measured 12.3%","value":0.123,"threshold":0.05,"since":1795289028304,"since_unix_ms":1795289028304,"version":null,"previous_version":null,"runbook":null},"decided_unix_ms":1795289029305,"unjournaled":false}}}',9,NULL,NULL,11,11);
INSERT INTO "intents" VALUES(2,'act','{"prepare_step":{"effect":2,"key":"aac6ce66-007a-4c60-954e-2d38ff20465f-E2","rollback":1,"plan":"back","step":"switch","action":{"exec":{"argv":["/srv/app/step.sh"]}},"timeout":20000,"facts":{"incident":1,"journal":"aac6ce66-007a-4c60-954e-2d38ff20465f","target":"app","cause":"Errors","labels":{},"severity":"critical","reason":"errors > 5% for 1s: measured 12.3%","value":0.123,"threshold":0.05,"since":1795289028304,"since_unix_ms":1795289028304,"version":null,"previous_version":null,"runbook":null}}}',9,10,NULL,10,12);
INSERT INTO "intents" VALUES(3,'page','{"deliver":{"effect":3,"receiver":"pager","message":{"kind":"update","dedup_key":"aac6ce66-007a-4c60-954e-2d38ff20465f-I1","severity":"critical","summary":"app: rolled back by `back` in 508ms, verified","details":["Began because: errors > 5% for 1s: measured 12.3%","Step switch: done in 2ms"],"facts":{"incident":1,"journal":"aac6ce66-007a-4c60-954e-2d38ff20465f","target":"app","cause":"Errors","labels":{},"severity":"critical","reason":"errors > 5% for 1s: measured 12.3%","value":0.123,"threshold":0.05,"since":1795289028304,"since_unix_ms":1795289028304,"version":null,"previous_version":null,"runbook":null},"decided_unix_ms":1795289029813,"unjournaled":false}}}',20,NULL,NULL,21,21);
INSERT INTO "intents" VALUES(4,'page','{"deliver":{"effect":4,"receiver":"pager","message":{"kind":"resolve","dedup_key":"aac6ce66-007a-4c60-954e-2d38ff20465f-I1","severity":"critical","summary":"app: Errors: the condition is no longer met","details":["It lasted 1s500ms. It had been opened because: errors > 5% for 1s: measured 12.3%"],"facts":{"incident":1,"journal":"aac6ce66-007a-4c60-954e-2d38ff20465f","target":"app","cause":"Errors","labels":{},"severity":"critical","reason":"errors > 5% for 1s: measured 12.3%","value":0.123,"threshold":0.05,"since":1795289028304,"since_unix_ms":1795289028304,"version":null,"previous_version":null,"runbook":null},"decided_unix_ms":1795289029813,"unjournaled":false}}}',20,NULL,NULL,22,22);
CREATE TABLE outbox (
        effect INTEGER PRIMARY KEY,
        incident INTEGER NOT NULL,
        receiver TEXT NOT NULL,
        kind TEXT NOT NULL,              -- trigger, resolve
        dedup_key TEXT NOT NULL,
        status TEXT NOT NULL,            -- queued, failing, accepted, dead
        last_report TEXT,
        decided_unix_ms INTEGER NOT NULL,
        reported_unix_ms INTEGER
    ) STRICT;
INSERT INTO "outbox" VALUES(1,1,'pager','trigger','aac6ce66-007a-4c60-954e-2d38ff20465f-I1','accepted','PagerDuty says: Event processed',1795289029305,1795289029337);
INSERT INTO "outbox" VALUES(3,1,'pager','update','aac6ce66-007a-4c60-954e-2d38ff20465f-I1','accepted','PagerDuty says: Event processed',1795289029813,1795289029820);
INSERT INTO "outbox" VALUES(4,1,'pager','resolve','aac6ce66-007a-4c60-954e-2d38ff20465f-I1','accepted','PagerDuty says: Event processed',1795289029813,1795289029825);
CREATE TABLE rollbacks (
        id INTEGER PRIMARY KEY,
        incident INTEGER NOT NULL,
        target TEXT NOT NULL,
        plan TEXT NOT NULL,
        decided_unix_ms INTEGER NOT NULL,
        ended_unix_ms INTEGER,
        outcome TEXT,                    -- NULL while it runs
        reason TEXT
    ) STRICT;
INSERT INTO "rollbacks" VALUES(1,1,'app','back',1795289029305,1795289029813,'succeeded','every step was done and the verification passed');
CREATE TABLE snapshots (
        seq INTEGER PRIMARY KEY,
        state TEXT NOT NULL,
        hash BLOB NOT NULL,              -- of the event at seq
        digest BLOB NOT NULL             -- SHA-256(seq big endian || hash || state)
    ) STRICT;
INSERT INTO "snapshots" VALUES(23,'{"journal":"aac6ce66-007a-4c60-954e-2d38ff20465f","now":1795289036968,"wall_offset":0,"journal_lost":null,"degraded":null,"stopping":true,"next_incident":2,"next_rollback":2,"next_effect":5,"other_numbers":[0,0],"triggers":[],"incidents":{"1":{"cause":{"trigger":{"target":"app","trigger":"Errors","labels":{}}},"target":"app","severity":"critical","reason":"errors > 5% for 1s: measured 12.3%","since":1795289028304,"opened_at":1795289029305,"resolved_at":1795289029813,"evidence":{"value":0.123,"threshold":0.05,"condition":"errors > 5%","shown":"12.3%","newest_sample":1795289029055,"labels":{"__name__":"app_error_ratio","instance":"127.0.0.1:18003","job":"app"}},"runbook":null,"notify":["pager"],"policy":"on-call","escalated":0,"due":[],"ran":{"back":1},"refused":null,"recommended":null,"open_keys":{}}},"baselines":[],"targets":{"app":{"in_flight":null,"begun":[1795289029305],"last_ended":1795289029813,"version":null,"previous_version":null,"deployments":{"active":null,"last":null,"totals":{},"ended":[],"no_return":null},"rollbacks":{"totals":{"succeeded":1},"last_took":508,"last_verified":true}}},"rollbacks":{"1":{"incident":1,"target":"app","plan":"back","plan_fingerprint":"d72d6d9ebfe6ec3441d2bb4d57cf7324058e5106ea18f45c6a5b9a69226f7334","begun_at":1795289029305,"deadline":1795289329305,"step_names":["switch"],"steps":[{"index":0,"ending":{"result":"succeeded","took":2,"output":"switching to blue\ndone: 3 of 3 backends"}}],"phase":{"ended":{"outcome":"succeeded","reason":"every step was done and the verification passed","at":1795289029813}}}},"deployments":{},"next_deployment":0,"pages":{},"failing_receivers":{}}',X'85AF1CC752304C8BF27E146838D62EEBF1BCEEB2C7293C16714ED26AA0E04AB2',X'85A72BCB23FD6BCFA6803249F2A921B7FB9AA0613725BEE02F5A871DA0BB412D');
CREATE INDEX incidents_open ON incidents (cause) WHERE state = 'open';
COMMIT;
