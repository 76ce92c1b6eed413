//! What every engine of the store must do, as cases that know the traits alone. An engine is
//! added with one line at the end of this file.

mod accept;
mod attempts;
mod consent;
mod consent_order;
pub(crate) mod engine;
pub(crate) mod fixture;
mod form;
mod hold_ends;
mod holds;
mod identities;
mod inbound;
mod log;
mod maintenance;
mod message_commands;
mod mixed;
mod pauses;
mod queue;
mod report_order;
mod reports;
pub(crate) mod samples;
pub(crate) mod soak;
mod subjects;

mod evidence;
mod watches;

/// One test for each seed; the name says which one to repeat.
macro_rules! seeds {
    ($make:expr, $($name:ident = $seed:literal),+) => {
        $(#[tokio::test]
        async fn $name() {
            $crate::store::soak::run($make, $seed).await;
        })+
    };
}
use seeds;

/// Runs every case over one engine, each on its own empty database, and recounts at the end
/// of each.
macro_rules! engine {
    ($engine:ident, $make:expr, $($room:ident { $($case:ident),+ $(,)? })+) => {
        mod $engine {
            $(mod $room {
                $(#[tokio::test]
                async fn $case() {
                    let mut fixture = $crate::store::fixture::StoreFixture::new($make).await;
                    $crate::store::$room::$case(&mut fixture).await;
                    fixture.clean().await;
                })+
            })+

            mod soak {
                $crate::store::seeds! { $make, seed_1 = 1, seed_2 = 2, seed_3 = 3, seed_20 = 20, seed_57 = 57, seed_67 = 67 }
            }
        }
    };
}

/// The cases, for each engine the same.
macro_rules! conformance {
    ($engine:ident, $make:expr) => {
        engine! {
            $engine, $make,
            accept {
                the_same_key_and_body_give_the_first_answer_again,
                the_same_key_with_another_body_is_a_conflict,
                a_key_is_kept_for_seven_days,
                a_refused_message_does_not_use_up_its_key,
                the_same_content_is_refused_for_a_while,
                the_same_person_in_another_spelling_is_the_same_person,
                what_was_stopped_unsent_may_be_asked_for_again,
                a_newer_notice_takes_the_place_of_an_unsent_older_one,
                a_superseded_notice_that_comes_back_does_not_leave_again,
                keys_without_version_replace_each_other,
                each_item_of_a_batch_has_its_own_result,
                a_message_to_somebody_who_opted_out_is_suppressed,
                free_text_needs_an_open_window_of_that_sender,
                an_answer_comes_from_where_the_person_wrote,
                everything_that_was_asked_for_reads_back,
                a_time_that_has_come_is_no_schedule,
            }
            subjects {
                a_subject_belongs_to_the_person,
                a_subject_of_the_account_is_one_for_everybody,
                a_request_never_cancels_what_it_accepts,
                the_same_words_about_something_else_are_no_repetition,
            }
            queue {
                urgent_goes_before_normal_before_bulk_each_by_due_time,
                senders_have_queues_of_their_own,
                a_scheduled_message_is_not_sent_before_its_time,
                what_has_expired_is_never_opened,
                a_deferred_message_comes_later,
                a_paused_sender_opens_nothing,
                a_person_has_one_open_attempt_of_a_sender,
                the_same_message_opens_once_however_often_it_is_asked_for,
                nothing_opens_for_a_person_who_opted_out_while_it_waited,
                an_opt_out_during_an_attempt_stops_the_next_one,
                after_an_opt_out_is_acknowledged_no_attempt_opens,
                a_canceled_message_does_not_open,
                a_message_to_somebody_who_is_being_asked_is_held,
                the_window_is_looked_at_again_before_sending,
                an_unknown_message_is_gone,
                open_attempts_outlive_the_server_and_become_unknown,
            }
            attempts {
                sent_attaches_the_sid_and_watches_for_silence,
                what_was_not_sent_is_tried_again_after_a_wait,
                the_providers_request_to_wait_is_heard_within_reason,
                what_could_not_be_sent_for_too_long_fails,
                what_found_no_connection_before_its_deadline_expires,
                waiting_for_its_time_does_not_make_a_message_old,
                a_retry_that_would_come_too_late_expires_instead,
                a_permanent_refusal_fails_for_good,
                a_retryable_refusal_is_tried_again,
                a_wrong_setting_pauses_what_it_concerns,
                a_pause_by_the_provider_ends_with_a_restart,
                an_opt_out_refusal_suppresses_the_person,
                unknown_at_most_once_is_never_sent_again,
                unknown_at_least_once_is_sent_once_more_and_marked,
                unknown_ask_is_held_for_the_operator,
                evidence_stops_a_resend_that_waits,
                an_attempt_is_closed_once,
                an_answer_that_comes_after_its_failure_is_kept_on_record,
                a_refusal_after_a_report_of_doubt_leaves_nothing_waiting,
                an_answer_that_says_failed_waits_for_the_report,
                an_answer_never_moves_a_report_back,
            }
            holds {
                a_limit_of_the_sender_holds_it_and_costs_nobody_an_attempt,
                a_limit_that_one_person_meets_holds_nobody_else,
                what_left_before_a_hold_does_not_prolong_it,
                a_template_is_held_until_it_is_lifted_and_the_same_message_holds_it_once,
                a_paused_template_is_held_for_hours,
                a_person_is_held_for_the_kind_that_was_held_back,
                the_account_is_held_with_all_its_senders,
                a_hold_outlives_the_server_and_the_deadline_does_not_wait_for_it,
                lifting_brings_back_what_waits_in_steps,
                holds_are_listed_newest_first_while_they_last,
                a_hold_follows_a_person_who_turns_out_to_be_another,
            }
            hold_ends {
                a_round_that_began_before_a_hold_was_lifted_puts_nothing_off,
                a_round_that_began_before_a_sender_was_free_opens_its_messages,
                a_report_from_before_a_hold_was_lifted_does_not_wait_for_it,
                a_hold_that_ended_stays_over_when_the_clock_is_set_back,
                a_hold_lasts_as_long_when_the_clock_is_set_back_and_can_be_lifted,
                two_names_of_one_person_are_no_evidence,
                what_is_held_is_put_off_together,
            }
            pauses {
                one_recipient_stops_nobody,
                two_people_are_evidence_and_one_is_not,
                a_message_pauses_its_sender_once,
                a_pause_by_a_report_outlives_the_server,
            }
            report_order {
                any_order_and_repetition_ends_in_the_same_record,
                a_repeated_report_is_known,
                reports_never_move_a_state_back,
            }
            reports {
                a_permanent_failure_ends_the_message,
                a_failure_that_passes_leads_to_another_attempt,
                a_failure_that_passes_is_not_tried_for_ever,
                a_receipt_for_an_earlier_attempt_is_a_possible_double,
                a_receipt_stops_the_retry_that_waits,
                delivered_after_failed_is_counted_as_an_anomaly,
                refusals_by_the_person_suppress_them_in_every_form,
                early_and_orphan_reports_are_parked_and_bound,
                parked_reports_are_bound_by_a_callback_that_knows_the_sid,
                a_correlation_id_of_another_database_is_not_ours,
                a_status_that_nobody_knows_is_kept_and_moves_nothing,
                a_callback_settles_an_unknown_attempt,
                what_was_canceled_stays_canceled_when_it_fails_late,
                what_was_stopped_stays_stopped_when_it_fails_late,
                parked_reports_see_what_the_ones_before_them_did,
            }
            consent {
                sure_words_opt_out_and_stop_what_waits,
                an_opt_out_holds_for_every_form_of_the_address,
                what_twilio_recognized_counts_too,
                a_word_that_may_mean_opt_out_holds_and_asks,
                yes_means_opt_out,
                no_frees_what_was_held,
                a_day_without_an_answer_is_an_opt_out,
                what_was_held_keeps_its_time,
                a_hold_by_a_question_and_a_retry_keep_the_time_too,
                a_held_message_can_be_canceled,
                start_undoes_an_opt_out_for_what_comes_later,
                the_operators_word_counts_like_the_persons,
            }
            consent_order {
                words_that_arrive_in_another_order_end_as_they_were_written,
                until_the_provider_answers_the_stricter_word_stands,
                an_ordinary_opt_out_asks_nobody,
                what_the_operator_said_later_stands,
                an_opt_out_is_said_anew_by_who_says_it_again,
                when_nobody_asks_any_more_what_stands_goes_on_to_stand,
                a_message_found_in_the_list_counts_when_it_was_written,
                a_callback_completes_what_was_found_in_the_list,
                how_far_the_list_was_read_is_kept,
                earlier_callback_urls_are_known_for_a_month,
            }
            inbound {
                a_message_counts_once_however_often_it_comes,
                the_same_message_twice_in_one_batch_counts_once,
                who_writes_to_a_number_that_is_not_ours_is_heard_all_the_same,
                the_inbox_pages_by_person_newest_first,
                a_window_opens_again_with_every_message,
            }
            identities {
                an_opt_out_by_phone_holds_for_the_user_id,
                an_opt_out_by_user_id_holds_for_the_phone,
                a_report_that_carries_both_names_ties_them,
                open_attempts_of_both_work_to_their_end,
                open_attempts_of_both_outlive_the_server,
                messages_keep_the_address_they_were_accepted_for,
                window_pace_and_dedupe_follow_the_person,
                a_newer_notice_to_another_name_takes_the_place_of_the_older,
                a_question_holds_for_every_name,
                chains_and_circles_end_as_one_person,
                names_in_one_batch_find_each_other,
                a_word_that_waits_for_its_time_follows_the_person,
                an_opt_in_that_ties_two_names_counts,
                of_two_opt_outs_the_one_that_was_said_last_stands,
            }
            form {
                nobody_under_this_number_tries_the_other_form_once,
                a_refusal_in_the_answer_tries_the_other_form_too,
                what_was_delivered_is_remembered,
                a_delivery_under_the_canonical_form_is_remembered_too,
                the_form_that_a_person_writes_from_is_the_one_to_use,
                other_codes_do_not_try_the_other_form,
                lines_without_another_form_are_not_tried_twice,
                trouble_on_the_way_does_not_go_back_to_the_form_that_failed,
            }
            evidence {
                a_stale_finding_takes_nobodys_sid,
                nothing_is_settled_while_a_request_to_the_person_is_open,
                a_signed_callback_beats_the_list,
                an_answer_beats_the_list,
                a_retry_that_a_wrong_message_led_to_is_stopped,
                a_retry_that_a_wrong_message_led_to_is_marked,
                a_callback_corrects_its_own_attempt,
                what_is_absent_is_sent_again,
                what_is_absent_and_too_late_expires,
                evidence_after_the_proof_stops_the_retry,
                every_unknown_attempt_of_a_person_is_seen,
            }
            watches {
                an_unknown_attempt_says_what_to_look_for,
                the_form_that_was_used_comes_first,
                a_messaging_service_shows_no_number,
                what_is_found_settles_the_attempt,
                a_failure_that_is_found_counts_like_one_that_is_reported,
                nothing_found_looks_again_later,
                the_newest_watches_come_first_and_the_oldest_are_not_forgotten,
                evidence_that_comes_after_the_resend_is_a_possible_double,
                a_found_message_brings_its_parked_reports,
                a_silent_message_is_asked_about,
                a_horizon_says_nothing_about_what_is_settled,
                what_is_unknown_for_an_hour_is_overdue,
                the_newest_message_to_a_number_measures_the_list,
            }
            maintenance {
                deadlines_pass_without_anybody_looking,
                long_maintenance_is_done_in_turns,
                times_follow_a_clock_that_is_set_back,
                old_keys_go_and_their_messages_stay,
            }
            message_commands {
                canceling_is_idempotent_and_knows_when_it_is_too_late,
                a_retry_that_waits_can_be_canceled,
                a_failed_message_is_tried_again_on_request_once,
                what_changed_meanwhile_is_left_by_a_command_for_many,
                a_retry_in_doubt_is_marked,
                what_was_stopped_cannot_be_retried,
                a_retry_on_request_does_not_reach_somebody_who_opted_out,
                a_batch_of_commands_has_its_own_results,
            }
            log {
                events_have_keys_without_gaps_and_can_be_resumed,
                counters_count_what_happened_by_every_group,
                gauges_show_sizes_and_depths,
                keys_are_made_found_listed_and_revoked,
                senders_follow_the_configuration,
                lists_show_each_message_once_whatever_the_filter,
                a_list_can_begin_and_end_anywhere,
            }
        }
    };
}

conformance!(sqlite, crate::store::engine::Sqlite::fresh());
conformance!(sheet, crate::store::engine::Sheet::fresh());
