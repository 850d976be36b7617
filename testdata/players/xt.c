/* Plays with xine and no output devices: xt URL SECONDS-AT-MOST VERBOSITY
 * Exit code 0 when it played to the end, 1 when the time was up, 2 when it could not open. cc -o xt xt.c -lxine */
#include <xine.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static volatile int done;
static void ev(void *u, const xine_event_t *e) { if (e->type == XINE_EVENT_UI_PLAYBACK_FINISHED) done = 1; }
int main(int c, char **v) {
    xine_t *x = xine_new(); xine_engine_set_param(x, XINE_ENGINE_PARAM_VERBOSITY, c > 3 ? atoi(v[3]) : 0); xine_init(x);
    xine_audio_port_t *a = xine_open_audio_driver(x, "none", NULL);
    xine_video_port_t *o = xine_open_video_driver(x, "none", XINE_VISUAL_TYPE_NONE, NULL);
    xine_stream_t *s = xine_stream_new(x, a, o); xine_event_queue_t *q = xine_event_new_queue(s);
    xine_event_create_listener_thread(q, ev, NULL);
    if (!xine_open(s, v[1]) || !xine_play(s, 0, 0)) { fprintf(stderr, "open failed err=%d\n", xine_get_error(s)); return 2; }
    for (int i = 0, lim = c > 2 ? atoi(v[2]) : 30; i < lim * 10 && !done; i++) usleep(100000);
    int p = 0, t = 0, l = 0; xine_get_pos_length(s, &p, &t, &l);
    fprintf(stderr, "finished=%d pos_ms=%d skipped=%d discarded=%d\n", done, t, (int)xine_get_stream_info(s, XINE_STREAM_INFO_SKIPPED_FRAMES), (int)xine_get_stream_info(s, XINE_STREAM_INFO_DISCARDED_FRAMES));
    return done ? 0 : 1;
}
