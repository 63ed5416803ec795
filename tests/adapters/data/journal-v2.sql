-- A journal as version 2 of its schema wrote it, under protocol 1: `sqlite3 FILE .dump`, with its user_version.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO counters VALUES('incarnation',1790000000);
CREATE TABLE prompts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of acceptance
    prompt_id TEXT NOT NULL, reply_topic TEXT NOT NULL, reply TEXT NOT NULL, prompt TEXT NOT NULL,
    deadline_in_s REAL, elapsed_s REAL NOT NULL, restarts INTEGER NOT NULL,
    layer_count INTEGER, fanout INTEGER,  -- the plan, NULL where version 1 wrote the prompt
    wall_s REAL NOT NULL, boot_id TEXT NOT NULL, since_boot_s REAL NOT NULL,
    UNIQUE (prompt_id, reply_topic)
);
INSERT INTO prompts VALUES(1,'unfinished','moamesh/v1/home/devices/dev-1/answers/alice','{"topic":"moamesh/v1/home/devices/dev-1/answers/alice","correlation":"c0ffee","body_id":""}','{"prompt_id":"unfinished","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Why is the sky blue? Ω\n"}],"options":{"layers":2,"fanout":2,"deadline_s":60.0,"join":null,"sampling":{"max_output_tokens":256,"temperature":0.7,"seed":7,"stop":["###"]}}}',60.0,0.0,0,2,3,1790000000.0,'boot-1',100.0);
INSERT INTO prompts VALUES(2,'without-layers','moamesh/v1/home/devices/dev-1/answers/bob','{"topic":"moamesh/v1/home/devices/dev-1/answers/bob","correlation":"","body_id":"7"}','{"prompt_id":"without-layers","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Why is the sky blue? Ω\n"}],"options":{"layers":2,"fanout":2,"deadline_s":60.0,"join":null,"sampling":{"max_output_tokens":256,"temperature":0.7,"seed":7,"stop":["###"]}}}',NULL,0.0,0,1,2,1790000000.0,'boot-1',100.0);
INSERT INTO prompts VALUES(3,'unfinished','moamesh/v1/home/devices/dev-1/answers/me','{"topic":"moamesh/v1/home/devices/dev-1/answers/me","correlation":"","body_id":""}','{"prompt_id":"unfinished","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Why is the sky blue? Ω\n"}],"options":{"layers":2,"fanout":2,"deadline_s":60.0,"join":null,"sampling":{"max_output_tokens":256,"temperature":0.7,"seed":7,"stop":["###"]}}}',NULL,0.0,0,0,0,1790000000.0,'boot-1',100.0);
CREATE TABLE layers (
    prompt INTEGER NOT NULL REFERENCES prompts (number) ON DELETE CASCADE,
    layer INTEGER NOT NULL, joined TEXT NOT NULL,
    PRIMARY KEY (prompt, layer)
);
INSERT INTO layers VALUES(1,1,'{"responses":[["response 1 of dev-1",{"device_id":"dev-1","model":"smollm2","waiting_time_s":0.5,"service_time_s":1.25,"input_tokens":20,"output_tokens":31,"input_tokens_cut":0,"synthetic":false}],["response 1 of dev-2",{"device_id":"dev-2","model":"smollm2","waiting_time_s":0.5,"service_time_s":1.25,"input_tokens":20,"output_tokens":31,"input_tokens_cut":0,"synthetic":false}],["response 1 of dev-3",{"device_id":"dev-3","model":"smollm2","waiting_time_s":0.5,"service_time_s":1.25,"input_tokens":20,"output_tokens":31,"input_tokens_cut":0,"synthetic":false}]],"missing":[{"layer":1,"device_id":"d4","reason":"silent"}],"substitutes":[{"layer":1,"device_id":"d5","instead_of":"d6","reason":"queue_full"}]}');
CREATE TABLE answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    prompt_id TEXT NOT NULL, reply_topic TEXT NOT NULL, reply TEXT NOT NULL, answer TEXT NOT NULL,
    delivered INTEGER NOT NULL,
    wall_s REAL NOT NULL, boot_id TEXT NOT NULL, since_boot_s REAL NOT NULL,
    UNIQUE (prompt_id, reply_topic)
);
INSERT INTO answers VALUES(1,'delivered','moamesh/v1/home/devices/dev-1/answers/bob','{"topic":"moamesh/v1/home/devices/dev-1/answers/bob","correlation":"","body_id":"7"}','{"prompt_id":"delivered","device_id":"dev-1","outcome":"answered","text":"Rayleigh scattering.","detail":"","end_to_end_latency_s":12.5,"provenance":{"device_id":"dev-1","layer_count":1,"fanout":2,"layers":[[{"device_id":"dev-1","model":"smollm2","waiting_time_s":0.5,"service_time_s":1.25,"input_tokens":20,"output_tokens":31,"input_tokens_cut":0,"synthetic":false},{"device_id":"dev-2","model":"smollm2","waiting_time_s":0.5,"service_time_s":1.25,"input_tokens":20,"output_tokens":31,"input_tokens_cut":0,"synthetic":false},{"device_id":"dev-3","model":"smollm2","waiting_time_s":0.5,"service_time_s":1.25,"input_tokens":20,"output_tokens":31,"input_tokens_cut":0,"synthetic":false}]],"aggregation":null,"substitutes":[],"missing":[],"policies":[["join","all"]],"messages_sent":4,"messages_received":8,"restarts":0,"decisions":[],"answer_from":"","reference_bytes_cut":0},"partial":false}',1,1790000000.0,'boot-1',100.0);
INSERT INTO answers VALUES(2,'owed','moamesh/v1/home/devices/dev-1/answers/bob','{"topic":"moamesh/v1/home/devices/dev-1/answers/bob","correlation":"","body_id":"7"}','{"prompt_id":"owed","device_id":"dev-1","outcome":"answered","text":"Rayleigh scattering.","detail":"","end_to_end_latency_s":12.5,"provenance":{"device_id":"dev-1","layer_count":1,"fanout":2,"layers":[[{"device_id":"dev-1","model":"smollm2","waiting_time_s":0.5,"service_time_s":1.25,"input_tokens":20,"output_tokens":31,"input_tokens_cut":0,"synthetic":false},{"device_id":"dev-2","model":"smollm2","waiting_time_s":0.5,"service_time_s":1.25,"input_tokens":20,"output_tokens":31,"input_tokens_cut":0,"synthetic":false},{"device_id":"dev-3","model":"smollm2","waiting_time_s":0.5,"service_time_s":1.25,"input_tokens":20,"output_tokens":31,"input_tokens_cut":0,"synthetic":false}]],"aggregation":null,"substitutes":[],"missing":[],"policies":[["join","all"]],"messages_sent":4,"messages_received":8,"restarts":0,"decisions":[],"answer_from":"","reference_bytes_cut":0},"partial":false}',0,1790000000.0,'boot-1',100.0);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('prompts',5);
INSERT INTO sqlite_sequence VALUES('answers',2);
COMMIT;
PRAGMA user_version = 2;
