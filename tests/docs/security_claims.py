"""What docs/SECURITY.md says, by the first words of each sentence, and the tests that would fail if it were false."""

from __future__ import annotations

from edge_agent.adapters.llama import chat_template
from edge_agent.adapters.mqtt import MqttSettings, entries, rate_limiter
from edge_agent.adapters.mqtt.rates import CROWD, TELLS_HZ
from edge_agent.confinement import limits
from edge_agent.core.settings import AgentSettings
from edge_agent.core.shares import Shares
from edge_agent.models import download_bounds, redirects
from provisioning.registrar import CERTIFICATES_A_MONTH_MAX, MONTH

AGENT = AgentSettings()
MQTT = MqttSettings("kitchen", "home", "mqtt://127.0.0.1:1")
MIB, GIB = 1024**2, 1024**3
WORDS = {1: "one", 2: "two", 4: "four", 5: "five", 8: "eight"}

SECTIONS = {"What is not protected": "limits", "Reporting": "advises"}
"""Sections of which no sentence promises anything."""

UNTESTED = {
    "What a mesh protects, against whom": "explains",
    "How to set it up is in": "points",
    "A broker may be flooded before a device is": "limits",
    "A model file is a stranger's program": "explains",
    "What it does not stop: the process can use": "limits",
    "Its answers are its own: a bad model": "limits",
    "`python -m bench.flood` holds agents": "measured",
}
"""Sentences that promise nothing, with the reason in a word."""

FIGURES: dict[str, tuple[str, ...]] = {
    "Homes that gossip names have a room": (
        f"{MQTT.unproven_max} homes",
        f"{MQTT.unproven_items_max} messages",
        f"{MQTT.proof_rate_hz:g} looks a second",
    ),
    "Signatures cost time, so no more than": (
        f"{entries.ENTRIES_PER_S:g} entries a second",
        f"{entries.ENTRIES_BURST:g} at once",
        f"{MQTT.entries_max} of an exchange",
    ),
    "Each has a share of places, bytes and work": (
        {0.25: "a quarter"}[AGENT.principal_share],
        f"one turn in {WORDS[Shares(AGENT.principal_share, AGENT.queue_capacity).turns]}",
    ),
    "A prompt's cost is bounded": (f"{AGENT.deadline_s:g} s",),
    "**Nobody is read without end**": (
        f"{AGENT.message_rate_hz:g} messages a second",
        f"{AGENT.message_burst:,} at once",
    ),
    "What is over it is dropped unread": (f"{WORDS[int(TELLS_HZ)]} times a second",),
    "Where names are only claims, all the nameless": (f"have {WORDS[CROWD]} times that",),
    "Of revocation lists, which members bring": (f"has {WORDS[int(rate_limiter.LISTS_HZ)]} a second",),
    "| has memory for itself up to": (
        f"{limits.OPEN_FILES_MAX:,} open files",
        f"{limits.RESERVED_BYTES // GIB} GiB",
        f"{limits.RESERVED_BYTES_PER_CORE // MIB} MiB for each core",
    ),
    "Processes are counted for a user": (f"({limits.PROCESSES_MAX:,})",),
    "A chat template runs in jinja's": (
        f"{chat_template.CPU_S:g} s of computing",
        f"{chat_template.MEMORY_BYTES // MIB} MiB of memory",
        f"{WORDS[chat_template.OUTPUT_SHARE_MAX]} times the chat's own",
        f"numbers of {chat_template.FACTOR_BITS_MAX:,} bits",
    ),
    "A download of a model has a checksum": (
        f"{download_bounds.MODEL_BYTES_MAX // GIB} GiB at most",
        f"{download_bounds.SPARE_DISK_BYTES // MIB} MiB of the disk free",
        f"{download_bounds.PATIENCE_BYTES_MIN // 1024} KiB in {WORDS[int(download_bounds.PATIENCE_S / 60)]} minutes",
    ),
    "At most five redirects are followed": (f"At most {WORDS[redirects.REDIRECTS_MAX]} redirects",),
    "The list cannot be filled by a member": (f"{CERTIFICATES_A_MONTH_MAX} certificates in {MONTH.days} days",),
}
"""Words that hold a number of the code's."""

CLAIMS: dict[str, tuple[str, ...]] = {
    # Who there is
    "| a device | a certificate of the mesh's": (
        "tests/broker/test_table.py::test_nobody_unknown_or_revoked_is_let_in",
        "tests/broker/test_table.py::test_what_each_can_write_is_what_the_design_says",
        "tests/broker/test_table.py::test_what_each_can_read_is_what_the_design_says",
        "tests/broker/test_ejabberd.py::test_both_nodes_carry_each_others_messages_and_let_through_what_the_table_says",
    ),
    "| a user | `user.NAME` and a secret": (
        "tests/broker/test_table.py::test_nobody_unknown_or_revoked_is_let_in",
        "tests/broker/test_table.py::test_what_each_can_write_is_what_the_design_says",
        "tests/broker/test_table.py::test_what_each_can_read_is_what_the_design_says",
        "tests/broker/test_mosquitto.py::test_a_browser_gets_in_by_websockets_with_the_same_rights",
    ),
    "| the operator | the certificate": (
        "tests/broker/test_table.py::test_what_each_can_write_is_what_the_design_says",
        "tests/broker/test_table.py::test_what_each_can_read_is_what_the_design_says",
        "tests/management/test_jobs.py::test_only_the_operator_of_this_mesh_is_believed",
    ),
    "| a card before its first certificate": (
        "tests/broker/test_table.py::test_what_each_can_write_is_what_the_design_says",
        "tests/provisioning/test_registrar.py::test_a_confirmed_claim_is_burnt",
        "tests/provisioning/test_claiming.py::test_a_request_in_another_name_is_refused",
    ),
    "| a stranger | | nothing": (
        "tests/broker/test_table.py::test_nobody_unknown_or_revoked_is_let_in",
        "tests/broker/test_per_device.py::test_a_stranger_is_kept_out",
    ),
    "Brokers enforce this with rules made from": (
        "tests/wire/test_topics.py::test_behind_a_channel_stands_what_the_table_says_no_more_and_no_less",
        "tests/broker/test_commands.py::test_a_mesh_s_mosquitto_runs_and_passes_its_check_with_guests_that_leave_no_trace",
        "tests/operator/test_brokers.py::test_an_open_broker_fails_its_check_and_the_report_says_what_leaks",
        "tests/broker/test_commands.py::test_a_cluster_node_runs_and_passes_the_same_check",
    ),
    "The last levels of a topic say who writes": (
        "tests/wire/test_topics.py::test_a_topic_names_its_sender_wherever_more_than_one_may_write_but_to_clear",
        "tests/broker/test_table.py::test_no_message_reached_anybody_against_the_design",
    ),
    "So nobody can ask, cancel, propose or gossip": (
        "tests/runtime/test_whose.py::test_nobody_asks_cancels_or_listens_as_somebody_else",
        "tests/broker/test_table.py::test_what_each_can_write_is_what_the_design_says",
        "tests/runtime/test_entries.py::test_nobody_speaks_in_the_name_of_another_in_the_first_place",
    ),
    "Ids hold no dot, so a user": (
        "tests/wire/test_topics.py::test_no_other_name_with_a_dot_is_a_principal",
        "tests/core/test_shares.py::test_no_user_is_taken_for_a_device",
        "tests/provisioning/test_authority.py::test_names_that_mean_somebody_else_or_nobody_are_refused",
    ),
    "A client that connects with another's MQTT client id": (
        "tests/broker/test_client_ids.py::test_a_user_with_a_guessed_client_id_throws_no_device_out",
        "tests/broker/test_client_ids.py::test_ejabberd_counts_client_ids_for_each_login_apart",
    ),
    "So client ids cannot be guessed": (
        "tests/broker/test_client_ids.py::test_every_client_of_ours_has_an_id_with_its_mesh_and_eighty_bits_that_nobody_can_guess",
        "tests/broker/test_client_ids.py::test_another_devices_broker_does_not_learn_what_a_device_is_called_at_home",
    ),
    "A user's, a gateway's and the operator's are drawn": (
        "tests/broker/test_client_ids.py::test_every_client_of_ours_has_an_id_with_its_mesh_and_eighty_bits_that_nobody_can_guess",
    ),
    "`moamesh up`, `moamesh demo` and every broker": (
        "tests/runtime/test_whose.py::test_where_the_broker_lets_everybody_in_a_name_is_only_a_claim_and_everybody_reads",
        "tests/operator/test_brokers.py::test_an_open_broker_fails_its_check_and_the_report_says_what_leaks",
    ),
    "`moamesh doctor` says so of such a home": (
        "tests/doctor/test_home_broker.py::test_a_broker_that_lets_everybody_in_is_said_to_once",
    ),
    "The brokers of `up` and `demo` listen on loopback": (
        "tests/broker/test_embedded.py::test_it_listens_on_loopback_only",
        "tests/broker/test_embedded_web.py::test_nobody_gets_in_without_a_secret_even_while_there_are_no_users",
        "tests/broker/test_embedded_web.py::test_it_listens_on_loopback_unless_the_network_is_asked_for",
        "tests/fleet/test_gateway.py::test_in_the_network_it_asks_for_a_key",
        "tests/cli/test_up.py::test_for_the_network_it_says_so_and_shows_the_key",
    ),
    "A device's own broker has a door without TLS": (
        "tests/broker/test_per_device.py::test_who_is_on_the_device_and_may_read_its_file_has_a_users_rights_and_nobody_else_comes_in",
        "tests/broker/test_per_device.py::test_the_password_of_this_machine_stays_over_restarts_unless_others_may_know_it",
    ),
    "Nobody else on the machine comes in": (
        "tests/broker/test_per_device.py::test_who_is_on_the_device_and_may_read_its_file_has_a_users_rights_and_nobody_else_comes_in",
    ),
    "Nothing is signed there either: anyone who reaches": (
        "tests/runtime/test_entries.py::test_without_certificates_the_lie_lands_and_is_outdone",
    ),
    "A device outdoes such news of itself": (
        "tests/runtime/test_entries.py::test_without_certificates_the_lie_lands_and_is_outdone",
    ),
    "The same is so in a mesh whose certificates": (
        "tests/runtime/test_assemble.py::test_entries_are_signed_in_a_mesh_of_an_authority_that_moamesh_made_and_in_no_other",
    ),
    "A broker's certificate is looked at before anything": (
        "tests/adapters/test_mqtt_trust.py::test_a_broker_with_a_certificate_that_is_not_good_hears_nothing",
        "tests/adapters/test_mqtt_trust.py::test_a_revoked_broker_hears_nothing",
        "tests/adapters/test_mqtt_trust.py::test_a_certificate_that_is_no_brokers_is_nobodys_shared_broker",
    ),
    "A device's is good for that device's own broker": (
        "tests/test_homes.py::test_a_certificate_serves_whom_its_kind_says",
        "tests/adapters/test_mqtt_trust.py::test_a_broker_of_the_mesh_at_a_host_that_no_settings_name_hears_nothing_of_others",
        "tests/adapters/test_mqtt_trust.py::test_what_is_for_others_does_not_go_to_a_broker_that_only_named_its_device",
    ),
    "Of an authority of your own (`ca_file`)": (
        "tests/test_homes.py::test_an_authority_of_ones_own_has_no_kinds_and_its_brokers_serve_named_hosts_alone",
    ),
    "Homes that gossip names have a room": (
        "tests/adapters/test_mqtt_pool.py::test_a_flood_of_dead_homes_stays_within_its_bound",
        "tests/adapters/test_mqtt_pool.py::test_homes_that_only_gossip_names_are_looked_at_no_faster_than_their_rate",
        "tests/adapters/test_mqtt_pool.py::test_a_flood_of_invented_homes_costs_real_peers_no_message",
        "tests/adapters/test_mqtt_pool.py::test_whoever_is_said_to_live_at_a_seeds_takes_no_place_from_proven_homes",
    ),
    "Without TLS a home is proven by letting": (
        "tests/adapters/test_mqtt_pool.py::test_what_waits_for_a_home_that_gave_way_while_it_was_looked_at_has_an_end",
    ),
    "A device that hears on its own presence": (
        "tests/runtime/test_clones.py::test_two_of_one_name_are_named_on_both_sides_and_one_of_them_serves",
        "tests/core/test_twins.py::test_two_that_are_connected_at_once_are_named_on_both_sides_and_the_later_stands_aside",
    ),
    "Where the broker lets everybody in, anybody can say": (
        "tests/runtime/test_clones.py::test_where_everybody_is_let_in_anybody_can_say_that_and_keep_a_device_away",
    ),
    # What is checked where
    "**Every body**, whoever sent it": (
        "tests/wire/test_codec.py::test_a_body_over_the_limit_is_refused_unread",
        "tests/wire/test_codec.py::test_a_refusal_names_the_field",
        "tests/wire/test_codec.py::test_a_peers_message_that_is_well_typed_but_out_of_bounds_is_refused",
        "tests/adapters/test_mqtt_transport.py::test_bad_bodies_become_bad_input_with_a_way_back_and_disturb_nothing",
    ),
    "Unknown fields are refused": ("tests/wire/test_codec.py::test_a_refusal_names_the_field",),
    "Whatever is wrong with bytes ends": (
        "tests/wire/test_codec.py::test_arbitrary_bytes_are_refused_with_one_short_line_and_nothing_else_is_raised",
        "tests/hostile/test_fuzz.py::test_some_thousand_fuzzed_bodies_are_read_or_refused_and_nothing_else",
    ),
    "**Who speaks.** A message between devices must": (
        "tests/wire/test_codec.py::test_a_message_that_says_another_sender_than_its_topic_is_refused",
        "tests/wire/test_codec.py::test_every_message_between_devices_says_who_it_is_from",
        "tests/adapters/test_mqtt_reader.py::test_what_a_device_says_in_anothers_name_is_dropped",
    ),
    "A prompt belongs to the principal that its topic": (
        "tests/core/test_session.py::test_the_same_prompt_id_of_two_users_is_two_prompts",
        "tests/core/test_session.py::test_a_cancel_counts_only_from_whose_prompt_it_is",
        "tests/runtime/test_whose.py::test_nobody_asks_cancels_or_listens_as_somebody_else",
    ),
    "**Who may look back.** A device tells": (
        "tests/runtime/test_answers.py::test_an_owner_gets_an_answer_later_and_nobody_else_does",
        "tests/core/test_lookup.py::test_nobody_is_told_of_another_users_prompts",
        "tests/core/test_lookup.py::test_clients_of_one_user_see_each_others_prompts_and_of_one_id_their_own",
    ),
    "On a broker that lets everybody in all are": (
        "tests/core/test_lookup.py::test_where_nobody_has_a_name_a_list_is_of_the_asking_client_and_one_must_know_an_id",
    ),
    "Our clients' ids and client names are unguessable": (
        "tests/client/test_mesh_client.py::test_prompts_have_ids_that_nobody_can_guess",
        "tests/client/test_mesh_client.py::test_who_logs_in_is_always_the_same_client_and_who_does_not_is_a_new_one",
        "tests/cli/test_answers.py::test_commands_of_one_account_are_one_client_where_nobody_has_a_name",
        "tests/app/test_unit_tests.py::test_the_apps_unit_tests_pass",
    ),
    "Pages are bounded in lines and bytes": (
        "tests/core/test_lookup.py::test_a_page_has_a_bound_in_bytes_and_still_goes_on",
        "tests/wire/test_codec.py::test_a_query_over_a_bound_is_refused_by_its_id",
    ),
    "**Where an answer goes.** It follows from the topic": (
        "tests/adapters/test_mqtt_reader.py::test_whatever_arrives_becomes_one_event_or_none_and_a_way_back_is_always_the_senders",
    ),
    "A response topic outside the sender's own": (
        "tests/wire/test_topics.py::test_a_response_topic_outside_the_senders_own_answers_is_refused",
        "tests/adapters/test_mqtt_transport.py::test_a_prompt_with_a_response_topic_elsewhere_is_refused_and_nothing_is_published_there",
    ),
    "Nobody can make a device publish elsewhere": (
        "tests/adapters/test_mqtt_transport.py::test_the_transport_itself_publishes_to_no_foreign_topic",
        "tests/runtime/test_host.py::test_a_response_topic_outside_the_devices_own_answers_is_refused_and_never_written_to",
    ),
    "**What is said of others.** In a mesh": (
        "tests/runtime/test_entries.py::test_a_lie_about_another_device_changes_nothing",
        "tests/runtime/test_entries.py::test_a_revoked_device_s_word_counts_no_more_whoever_carries_it",
        "tests/adapters/test_notary.py::test_only_the_device_s_own_certificate_speaks_for_it",
        "tests/adapters/test_notary.py::test_no_field_can_be_changed",
        "tests/adapters/test_notary.py::test_no_two_fields_can_be_swapped_and_nothing_moved_between_meshes",
        "tests/adapters/test_mqtt_entries.py::test_a_presence_brings_its_certificate_along",
    ),
    "An old entry changes nothing once a newer": (
        "tests/core/test_peers.py::test_only_a_higher_incarnation_or_heartbeat_is_news",
        "tests/core/test_incarnation.py::test_who_is_told_of_a_later_life_of_its_own_takes_a_newer_incarnation_than_that",
        "tests/runtime/test_entries.py::test_without_certificates_the_lie_lands_and_is_outdone",
    ),
    "Signatures cost time, so no more than": (
        "tests/adapters/test_mqtt_entries.py::test_who_floods_is_not_listened_to_for_a_while_and_others_are",
        "tests/adapters/test_mqtt_entries.py::test_no_more_entries_are_looked_at_than_the_core_takes",
        "tests/adapters/test_mqtt_entries.py::test_after_the_first_forged_entry_no_more_is_looked_at",
    ),
    "**What a device says of its load**": (
        "tests/core/test_measured.py::test_a_peer_that_promises_nothing_and_takes_long_is_believed_to_take_what_it_took",
        "tests/core/test_measured.py::test_a_peer_is_doubted_once_it_took_more_than_twice_as_long_as_it_promised",
        "tests/core/test_measured.py::test_what_is_usual_is_nobody_s_lie",
        "tests/core/test_measured.py::test_a_third_party_s_word_on_a_load_counts_until_the_device_has_spoken_or_with_its_proof",
    ),
    "**Who answers.** Only the device that was asked": (
        "tests/core/test_hostile_input.py::test_a_response_by_another_than_who_was_asked_is_not_taken",
        "tests/client/test_mesh_client.py::test_answers_that_come_twice_or_from_another_device_are_dropped",
        "tests/runtime/test_assemble.py::test_ids_of_requests_come_from_a_source_that_nobody_can_guess",
        "tests/client/test_mesh_client.py::test_prompts_have_ids_that_nobody_can_guess",
    ),
    "**Whose word counts.** Jobs carry the operator's": (
        "tests/management/test_jobs.py::test_only_the_operator_of_this_mesh_is_believed",
        "tests/provisioning/test_authority.py::test_trust_follows_a_rotation_and_nothing_else",
        "tests/provisioning/test_identity_store.py::test_a_revocation_list_is_taken_if_it_is_newer_and_of_this_mesh",
        "tests/management/test_handing_on.py::test_a_revocation_told_to_one_device_reaches_the_others",
    ),
    "A recorded job cannot be played again": (
        "tests/management/test_jobs.py::test_an_old_job_under_a_new_name_is_refused",
        "tests/management/test_jobs.py::test_a_job_asked_for_again_is_told_of_and_not_done_again",
    ),
    "**Nobody is trusted with a device's time**": (
        "tests/core/test_safeguards.py::test_the_safeguard_holds",
        "tests/core/test_peer_service.py::test_an_origin_is_refused_over_its_share_and_others_are_not",
    ),
    "Each has a share of places, bytes and work": (
        "tests/core/test_shares.py::test_one_alone_takes_all_but_a_reserve_which_others_find",
        "tests/core/test_shares.py::test_bytes_and_work_are_shared_as_places_are",
        "tests/core/test_queue.py::test_others_pass_who_has_more_than_its_share_for_a_few_turns_at_a_time",
    ),
    "A refused user or device gets the reason": (
        "tests/runtime/test_flood.py::test_who_comes_after_a_flood_is_served_before_all_but_a_few_of_it",
        "tests/core/test_peer_service.py::test_an_origin_is_refused_over_its_share_and_others_are_not",
    ),
    "A prompt's cost is bounded": (
        "tests/core/test_costs.py::test_a_prompt_that_asks_for_too_much_is_refused_in_words_and_for_good",
        "tests/core/test_costs.py::test_a_prompt_that_names_no_deadline_has_the_devices",
    ),
    "What a user asks beyond its share yields": (
        "tests/core/test_costs.py::test_what_a_user_asks_beyond_its_share_yields_elsewhere_and_leaves_room_for_other_users",
        "tests/core/test_shares.py::test_what_yields_has_one_place_of_its_own_and_takes_nothing_of_its_devices_share",
    ),
    "Where the broker lets everybody in, each client": (
        "tests/core/test_shares.py::test_the_nameless_count_by_client_and_leave_the_reserve_all_together",
    ),
    "**Nobody is read without end**": (
        "tests/adapters/test_mqtt_rates.py::test_a_burst_is_taken_and_then_so_many_a_second",
        "tests/runtime/test_flood.py::test_a_flood_is_not_read_beyond_its_rate_its_sender_is_told_and_others_are_served",
    ),
    "What is over it is dropped unread": (
        "tests/runtime/test_flood.py::test_a_flood_is_not_read_beyond_its_rate_its_sender_is_told_and_others_are_served",
        "tests/adapters/test_mqtt_rates.py::test_somebody_is_told_a_few_times_a_second",
        "tests/adapters/test_mqtt_rates.py::test_a_user_is_refused_in_words_and_a_device_told_that_this_one_is_busy",
    ),
    "Where names are only claims, all the nameless": (
        "tests/adapters/test_mqtt_rates.py::test_the_clients_of_a_user_have_one_bucket_and_those_without_a_name_one_each_and_one_together",
        "tests/adapters/test_mqtt_rates.py::test_what_one_spends_is_not_missing_to_another",
    ),
    "Of revocation lists, which members bring": (
        "tests/adapters/test_mqtt_raw.py::test_revocation_lists_have_a_rate_of_their_own_for_each_sender",
        "tests/adapters/test_mqtt_raw.py::test_who_floods_revocation_lists_keeps_out_neither_jobs_nor_what_others_bring",
    ),
    "**An agent's memory has a ceiling**": (
        "tests/docs/test_security_numbers.py::test_the_ceiling_of_an_agents_memory_is_the_sum_of_its_bounds",
        "tests/mesh/test_processes.py::test_an_idle_agent_is_small_and_quiet",
    ),
    "That is some 60 MiB of Python": (
        "tests/docs/test_security_numbers.py::test_the_ceiling_of_an_agents_memory_is_the_sum_of_its_bounds",
        "tests/adapters/test_mqtt_connection.py::test_a_slow_runtime_holds_the_broker_back_and_loses_nothing",
        "tests/adapters/test_mqtt_raw.py::test_a_slow_or_broken_taker_holds_up_no_prompt_and_what_waits_is_bounded",
        "tests/adapters/test_mqtt_outbox.py::test_the_bounds_hold_and_every_message_is_kept_or_counted",
        "tests/adapters/test_mqtt_pool.py::test_what_waits_for_a_home_elsewhere_has_a_bound_of_its_own_and_who_sent_the_rest_is_told",
        "tests/core/test_queue.py::test_bytes_are_bounded_across_sessions_and_other_devices",
        "tests/core/test_ends.py::test_kept_answers_stay_within_their_bytes_the_oldest_delivered_ones_go_first",
    ),
    "**No API key has the whole gateway**": (
        "tests/gateway/test_shares.py::test_one_key_does_not_get_all_the_places_and_another_finds_one",
        "tests/gateway/test_connections.py::test_without_keys_no_address_has_all_connections",
    ),
    "To devices a gateway is one user": (
        "tests/gateway/test_secured.py::test_a_members_gateway_is_a_user_of_the_mesh_with_a_password_of_its_own",
    ),
    "**Peers** are trusted with the *text*": (
        "tests/core/test_session.py::test_every_layer_has_a_proposal_of_its_own_and_of_k_distinct_peers_and_one_aggregation_ends_it",
        "tests/core/test_session.py::test_the_first_layer_infers_the_prompt_and_later_ones_the_responses_before_too",
    ),
    "**Whatever others write is text.**": (
        "tests/cli/test_strange_text.py::test_text_on_a_console_gives_no_orders",
        "tests/cli/test_strange_text.py::test_json_for_a_terminal_is_json_and_gives_no_orders",
        "tests/cli/test_views.py::test_a_peer_cannot_send_escape_sequences_to_the_terminal",
    ),
    "**A model's words are data.** The app shows": (
        "tests/app/test_hostile_answers.py::test_hostile_answers_run_no_script_and_fetch_nothing",
        "tests/app/test_hostile_answers.py::test_the_pages_rules_hold_even_if_a_tag_got_through",
        "tests/gateway/test_guards.py::test_a_models_words_are_sent_as_json",
    ),
    # The model process
    "It runs in a process of its own": (
        "tests/adapters/test_llama_engine.py::test_the_agents_own_process_loads_no_llama_cpp_and_stays_small",
        "tests/adapters/test_llama_confinement.py::test_a_model_that_takes_its_process_over_gets_nowhere",
        "tests/models/test_optimise.py::test_a_model_that_takes_the_maker_of_its_other_form_over_gets_nowhere",
    ),
    "| is given a list of variables": (
        "tests/confinement/test_confinement.py::test_a_new_secret_is_left_out_of_the_environment_by_itself",
        "tests/confinement/test_confinement.py::test_each_way_out_is_shut_or_said_to_be_open",
        "tests/adapters/test_llama_confinement.py::test_a_real_model_loads_and_answers_in_there",
    ),
    "| reads Python, libraries, and its model's": (
        "tests/confinement/test_confinement.py::test_each_way_out_is_shut_or_said_to_be_open",
        "tests/confinement/test_confinement.py::test_a_kernel_with_landlock_hides_keys_and_one_without_is_said_to_be_so",
        "tests/adapters/test_llama_confinement.py::test_a_model_that_takes_its_process_over_gets_nowhere",
    ),
    "| opens no socket, starts no program": (
        "tests/confinement/test_confinement.py::test_each_way_out_is_shut_or_said_to_be_open",
        "tests/confinement/test_inside.py::test_the_kernels_rarer_doors_are_shut_or_said_to_be_open",
    ),
    "| has memory for itself up to": (
        "tests/confinement/test_inside.py::test_the_limits_are_those_that_the_page_tells",
        "tests/confinement/test_confinement.py::test_a_model_larger_than_all_memory_can_be_mapped",
        "tests/confinement/test_confinement.py::test_each_way_out_is_shut_or_said_to_be_open",
    ),
    "| has none of root's rights": (
        "tests/confinement/test_inside.py::test_root_inside_has_no_right_of_roots_but_over_the_modes_of_files",
    ),
    "The engine `llama-server` is shut in likewise": (
        "tests/confinement/test_confinement.py::test_one_that_is_asked_over_a_socket_listens_and_everything_else_stays_shut",
        "tests/adapters/test_llama_server.py::test_the_package_listens_where_only_this_user_may_and_is_given_no_secret",
    ),
    "A program that is used as this engine": (
        "tests/adapters/test_llama_server.py::test_a_program_is_told_the_same_and_listens_on_a_socket_if_it_can",
        "tests/management/test_actions.py::test_a_setting_that_does_not_hold_changes_nothing",
    ),
    "`moamesh doctor` does not look these up": (
        "tests/doctor/test_model_process.py::test_the_doctor_says_what_the_kernel_does_not_hold",
        "tests/runtime/test_llama_outcomes.py::test_a_process_that_cannot_shut_itself_in_serves_and_that_is_said_once",
    ),
    "Nothing of it is required: a device": (
        "tests/doctor/test_model_process.py::test_the_doctor_says_what_the_kernel_does_not_hold",
        "tests/confinement/test_confinement.py::test_an_older_kernel_is_said_to_leave_open_what_it_leaves_open",
        "tests/runtime/test_llama_outcomes.py::test_a_process_that_cannot_shut_itself_in_serves_and_that_is_said_once",
    ),
    "A chat template runs in jinja's": (
        "tests/adapters/test_llama_chat_template.py::test_a_template_reaches_neither_pythons_inside_nor_what_it_is_given",
        "tests/adapters/test_llama_chat_template.py::test_a_template_that_does_not_end_is_ended_with_its_reason",
    ),
    "A template that goes beyond fails": (
        "tests/adapters/test_llama_chat_template.py::test_a_models_bomb_costs_one_prompt_and_neither_the_process_nor_the_device",
    ),
    "A single call in C that outlasts": (
        "tests/docs/test_security_numbers.py::test_how_long_a_model_process_may_be_silent",
        "tests/adapters/test_engine_faults.py::test_a_hanging_child_is_killed_and_replaced",
        "tests/test_hangs.py::test_it_is_found_when_it_hangs_and_not_before",
    ),
    "A pulled model's checksum is looked at": (
        "tests/models/test_verified.py::test_a_file_that_changed_since_it_was_found_good_is_refused",
        "tests/models/test_verified.py::test_a_good_file_is_read_once",
        "tests/models/test_verified.py::test_an_engine_does_not_load_a_file_that_is_another",
    ),
    "That finds a file that was replaced": (
        "tests/models/test_verified.py::test_a_file_that_changed_since_it_was_found_good_is_refused",
        "tests/models/test_verified.py::test_who_may_write_the_records_beside_a_model_is_not_found_out",
    ),
    "Of a file of your own": ("tests/models/test_pull.py::test_a_file_of_the_users_own_is_used_where_it_lies",),
    "A download of a model has a checksum": (
        "tests/models/test_registry.py::test_what_is_no_source_is_refused_in_one_line",
        "tests/models/test_pull.py::test_a_wrong_checksum_leaves_nothing_behind",
        "tests/models/test_pull.py::test_a_file_of_hugging_face_is_pulled_and_checked_against_its_tag",
        "tests/models/test_download_bounds.py::test_a_download_without_end_is_ended",
        "tests/models/test_redirects.py::test_what_is_longer_than_was_announced_elsewhere_is_ended",
        "tests/models/test_download_bounds.py::test_a_download_that_fills_the_disk_is_ended_and_removed",
        "tests/models/test_download_bounds.py::test_a_download_that_drips_is_ended_and_can_go_on",
    ),
    "At most five redirects are followed": (
        "tests/models/test_redirects.py::test_so_many_redirects_are_followed_and_no_more",
        "tests/models/test_redirects.py::test_a_redirect_leads_on_or_is_refused",
        "tests/models/test_redirects.py::test_what_lets_us_in_goes_to_no_other_server_and_the_place_to_go_on_does",
    ),
    "One that was cut off goes on only": (
        "tests/models/test_download_bounds.py::test_a_server_that_goes_on_elsewhere_than_asked_is_not_believed",
    ),
    "It can see that a file exists": (
        "tests/confinement/test_inside.py::test_it_sees_how_large_a_file_is_and_not_what_is_in_it",
    ),
    "Processes are counted for a user": (
        "tests/confinement/test_inside.py::test_the_limits_are_those_that_the_page_tells",
        "tests/provisioning/test_seed_contents.py::test_the_agent_s_threads_have_a_bound_and_packages_are_installed_by_root",
    ),
    "A build of llama-cpp-python for a GPU": ("tests/confinement/test_inside.py::test_no_device_of_a_gpu_is_let_in",),
    "On 32-bit systems there is no seccomp": (
        "tests/confinement/test_inside.py::test_a_machine_for_which_there_is_no_filter_is_said_to_have_none",
        "tests/confinement/test_confinement.py::test_an_older_kernel_is_said_to_leave_open_what_it_leaves_open",
    ),
    # What lies where
    "| `ca.key` | the operator's machine": (
        "tests/provisioning/test_authority.py::test_key_files_are_the_owners_alone_whatever_the_umask",
        "tests/provisioning/test_authority.py::test_a_key_with_a_passphrase_opens_with_it_alone",
        "tests/provisioning/test_claiming.py::test_in_a_rotation_old_and_new_certificates_work_and_after_it_only_the_new",
    ),
    "| `operator.key`, `broker.key` |": (
        "tests/provisioning/test_authority.py::test_key_files_are_the_owners_alone_whatever_the_umask",
        "tests/provisioning/test_ledger.py::test_the_operator_whose_certificate_is_revoked_has_another_with_another_key",
        "tests/provisioning/test_ledger.py::test_a_broker_whose_certificate_is_revoked_shows_another_for_the_same_hosts",
        "tests/provisioning/test_ledger.py::test_after_a_rotation_the_old_operators_key_is_believed_by_nobody",
    ),
    "| `web-ca.key` | the operator's machine": (
        "tests/provisioning/test_web_authority.py::test_its_key_is_encrypted_as_the_meshs_is",
        "tests/provisioning/test_web_authority.py::test_a_page_of_its_hosts_is_trusted_and_a_thiefs_of_any_other_is_not",
        "tests/provisioning/test_web_authority.py::test_who_trusts_it_trusts_the_brokers_door_for_browsers_and_nothing_else_of_the_mesh",
    ),
    "| a device's key | the device alone": (
        "tests/provisioning/test_identity_store.py::test_files_with_keys_are_the_owners_alone",
        "tests/provisioning/test_secrecy.py::test_no_secret_leaves_the_files_that_hold_it",
        "tests/provisioning/test_provision_command.py::test_an_offline_seed_holds_the_identity_and_no_claim",
        "tests/provisioning/test_claiming.py::test_a_revoked_device_is_cut_off_and_cannot_come_back",
        "tests/adapters/test_notary.py::test_a_device_hears_what_its_former_self_said_though_that_key_is_revoked",
    ),
    "| `installation` | a device's data folder": (
        "tests/runtime/test_installation.py::test_it_stays_the_same_and_no_two_folders_have_the_same",
        "tests/broker/test_client_ids.py::test_a_user_with_a_guessed_client_id_throws_no_device_out",
    ),
    "| a claim | the boot card": (
        "tests/management/test_claim.py::test_a_device_claims_once_and_the_invitation_is_gone",
        "tests/provisioning/test_registrar.py::test_a_confirmed_claim_is_burnt",
        "tests/provisioning/test_claiming.py::test_a_used_claim_is_refused_with_another_key",
    ),
    "| a user's secret | the user": (
        "tests/provisioning/test_secrecy.py::test_no_secret_leaves_the_files_that_hold_it",
        "tests/broker/test_mosquitto.py::test_a_new_user_gets_in_without_a_restart_and_a_removed_one_is_cut",
    ),
    "| a pairing link | a picture": (
        "tests/operator/test_pairing_link.py::test_a_link_says_everything_behind_the_hash_where_no_server_sees_it",
    ),
    "| an API key | the caller": (
        "tests/gateway/test_keys.py::test_a_key_has_256_bits_and_the_file_only_its_hash",
        "tests/gateway/test_keys.py::test_two_keys_differ_and_a_removed_one_is_gone",
    ),
    "| prompts and answers | the journal": (
        "tests/adapters/test_journal.py::test_prompts_on_disk_are_for_their_owner_alone",
        "tests/adapters/test_journal.py::test_answers_leave_after_their_time_and_undelivered_ones_stay_for_a_day",
    ),
    "Every certificate that the mesh's authorities sign": (
        "tests/provisioning/test_ledger.py::test_whatever_is_signed_stands_in_the_ledger",
        "tests/provisioning/test_ledger.py::test_what_can_not_be_recorded_is_given_to_nobody",
        "tests/provisioning/test_ledger.py::test_a_page_stands_in_the_ledger_or_is_given_to_nobody",
        "tests/provisioning/test_ledger.py::test_each_certificate_can_be_revoked_by_its_number",
        "tests/provisioning/test_ledger.py::test_a_revoked_page_is_marked_and_not_on_the_list_of_those_who_do_not_know_its_authority",
    ),
    "Devices, brokers and the operator's programs look": (
        "tests/adapters/test_mqtt_trust.py::test_a_revoked_broker_hears_nothing",
        "tests/adapters/test_mqtt_trust.py::test_users_programs_and_the_operators_look_at_the_list_that_they_are_given",
        "tests/gateway/test_secured.py::test_a_gateway_looks_at_the_revocation_list_of_its_settings",
        "tests/cli/test_mesh_access.py::test_a_command_with_the_revocation_list_tells_a_stolen_brokers_key_no_password",
        "tests/broker/test_revocation.py::test_at_a_mosquitto_that_all_share",
    ),
    "Browsers and phones look at none": (
        "tests/provisioning/test_ledger.py::test_a_revoked_page_is_marked_and_not_on_the_list_of_those_who_do_not_know_its_authority",
    ),
    "The list cannot be filled by a member": (
        "tests/provisioning/test_ledger.py::test_a_member_that_renews_as_often_as_it_can_takes_no_room_that_others_need",
        "tests/provisioning/test_ledger.py::test_what_has_expired_leaves_the_list_and_what_clocks_may_still_take_stays",
    ),
    "A revoked device's name is free again": (
        "tests/provisioning/test_device_names.py::test_a_member_is_not_invited_again_nor_a_revoked_one_while_its_certificates_hold",
        "tests/provisioning/test_device_names.py::test_a_revoked_name_is_free_when_its_certificates_have_ended_or_their_authority_has",
        "tests/provisioning/test_device_names.py::test_a_device_is_not_called_like_a_broker",
        "tests/provisioning/test_device_names.py::test_a_device_is_not_called_like_a_broker_or_page_that_has_a_certificate",
    ),
    "A revoked device or a removed user loses": (
        "tests/broker/test_revocation.py::test_at_a_mosquitto_that_all_share",
        "tests/broker/test_revocation.py::test_at_a_devices_own_broker",
        "tests/broker/test_revocation.py::test_the_products_own_periods_add_up_to_less_than_the_bound",
        "tests/broker/test_mosquitto.py::test_a_new_user_gets_in_without_a_restart_and_a_removed_one_is_cut",
    ),
    "A revoked device may connect to ejabberd": (
        "tests/broker/test_revocation.py::test_at_a_cluster_also_when_somebody_would_give_its_name_to_a_new_card",
    ),
    "The operator may write any device's `presence`": (
        "tests/provisioning/test_traces.py::test_the_command_clears_all_of_it_also_the_last_will_that_comes_when_the_session_is_cut",
        "tests/provisioning/test_traces.py::test_rights_to_clear_are_the_operators_alone",
    ),
    # What is installed
    "A boot seed installs the wheels": (
        "tests/provisioning/test_seed_requirements.py::test_every_wheel_is_pinned_by_version_and_checksum",
        "tests/provisioning/test_seed_requirements.py::test_what_is_pinned_is_installed_and_nothing_that_was_changed_or_left_out",
        "tests/provisioning/test_seed_requirements.py::test_a_device_goes_to_no_index_and_installs_nothing_without_checksums",
        "tests/provisioning/test_seed_contents.py::test_the_agent_s_threads_have_a_bound_and_packages_are_installed_by_root",
        "tests/provisioning/test_provision_command.py::test_a_seed_without_wheels_is_refused_in_one_line_and_invites_nobody",
    ),
    "An upgrade job is signed and names": (
        "tests/management/test_jobs.py::test_only_the_operator_of_this_mesh_is_believed",
        "tests/management/test_actions.py::test_an_upgrade_takes_one_checksum_only",
        "tests/management/test_upgrade.py::test_everything_in_the_lock_is_pinned_has_checksums_and_names_no_place",
        "tests/management/test_upgrade.py::test_the_named_wheel_and_what_it_is_locked_to_are_installed",
    ),
    "Whoever runs an index, or registers a name": (
        "tests/management/test_upgrade.py::test_whatever_has_another_checksum_changes_nothing",
    ),
    "Building the app runs no package's": (
        "tests/app/test_build_app.py::test_no_packages_script_is_run_when_the_app_is_built",
        "tests/app/test_build_app.py::test_every_package_of_the_app_is_locked_by_version_and_checksum",
    ),
    "What `make install` sets up for developers": (
        "tests/app/test_build_app.py::test_every_package_of_the_app_is_locked_by_version_and_checksum",
        "tests/models/test_registry.py::test_every_model_of_the_registry_is_pinned",
    ),
}
