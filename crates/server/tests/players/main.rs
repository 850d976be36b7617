//! The real binary and real players from Debian's packages, headless (`docs/protocol/clients.md`).
//! One module a claim. A missing program fails the test with the line that installs it.

mod announcements_are_checked;
mod both_protocols_on_every_port;
mod browsers_get_pages;
mod channels_behave_as_configured;
mod damaged_conversations;
mod damaged_files_are_refused;
mod fallback_stands_in;
mod ffmpeg_decodes_the_source;
mod groups_are_sent_and_announced;
mod http_encoders_push;
mod http_hostile_requests;
mod http_joiners_start_at_a_clean_point;
mod http_players_receive_the_normalised_bytes;
mod http_players_show_every_frame;
mod https_is_the_same_encrypted;
mod https_viewers_are_viewers;
mod late_joiners_start_at_a_clean_point;
mod live_command_source_with_a_stalled_player;
mod load_tests_can_trust_the_probe;
mod mplayer_xine_and_mpd_play_to_the_end;
mod multicasts_are_recorded;
mod orders_find_their_viewer;
mod passwords_are_made;
mod playlists_lead_to_the_channel;
mod probe_and_record;
mod redirects_lead_elsewhere;
mod restarted_encoder_keeps_viewers;
mod restarted_push_keeps_viewers;
mod shutdown_ends_every_session;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the tests in namespaces use the rest")]
mod support;
mod tshark_reads_every_command;
mod viewers_get_what_they_select;
mod vlc_and_libmms_receive_the_normalised_bytes;
mod vlc_is_pulled;
mod vlc_reads_our_announcements;
mod wrong_configuration;
