#!/usr/bin/env bash
# Makes the built-in demo channel, crates/server/assets/demo.asf, from synthetic sources.
#   testdata/make-demo.sh [OUTPUT]        needs: ffmpeg with the drawtext filter, fonts-dejavu-core
# 20 s, 320x240 WMV2 at 25 frames/s with a key frame every 2 s (so that a late joiner waits little)
# and a WMA2 chord: codecs every player of the family has. The length is a whole number of key-frame
# distances, so the loop has no seam. Made with Debian 12's ffmpeg 5.1.9; bitexact and
# single-threaded, so two runs of one ffmpeg give identical files.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../crates/server/assets/demo.asf}
mkdir -p "$(dirname "$out")"
font=/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf
[ -f "$font" ] || { echo "make-demo.sh: $font is missing; apt-get install fonts-dejavu-core" >&2; exit 1; }

# A slow field of colours, a title and a running clock.
picture="gradients=size=320x240:rate=25:duration=20:n=4:seed=7:speed=0.012\
:c0=0x1b2a49:c1=0x2d6a8e:c2=0xd98f4e:c3=0x7a3b69"
title="drawtext=fontfile=$font:text='funnel demo':fontsize=34:fontcolor=white:shadowx=2:shadowy=2:x=(w-text_w)/2:y=78"
clock="drawtext=fontfile=$font:text='%{pts\:hms}':fontsize=22:fontcolor=white:shadowx=1:shadowy=1:x=(w-text_w)/2:y=132"
# A bar that crosses the picture once in 20 s shows at a glance whether the picture moves.
bar="drawbox=x=20:y=196:w=280:h=6:color=white@0.35:t=fill,\
drawtext=fontfile=$font:text='●':fontsize=16:fontcolor=white:x=14+280*t/20:y=190"
# An A major chord, breathing once in 5 s; whole numbers of periods in 20 s, so the loop does not click.
chord="aevalsrc=exprs='0.11*(sin(2*PI*220*t)+0.8*sin(2*PI*277.2*t)+0.7*sin(2*PI*329.6*t)+0.4*sin(2*PI*440*t))\
*(0.7+0.3*sin(2*PI*0.2*t))':sample_rate=44100:duration=20"

ffmpeg -hide_banner -nostdin -loglevel error -y -threads 1 -filter_complex_threads 1 \
  -f lavfi -i "$picture,$title,$clock,$bar" -f lavfi -i "$chord" -t 20 \
  -c:v wmv2 -b:v 215k -g 50 -sc_threshold 1000000000 -c:a wmav2 -b:a 48k -metadata title='funnel demo' \
  -packet_size 1444 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -threads 1 -f asf "$out"
