Frames, JSON lines, text and .npy, there and back.

$ ds-cat | ds-cat
< hello
> {"type":"document","doc":0,"name":"","size":null,"mtime_ns":0,"mode":0}
> {"type":"text","doc":0,"start":0,"text":"hello\n"}
> {"type":"document_end","doc":0,"size":6,"hash":"99fc819aaba2462a"}
> {"type":"end","frames":3,"documents":1}

$ cp $TOP/tests/fuzz/corpus/fuzz_frame/good-types a.frames && ds-cat a.frames >a.jsonl && ds-cat a.jsonl | cmp - a.frames && ds-cat --format frames a.frames | cmp - a.frames
$ ds-cat a.frames a.frames --format frames -o two.frames && cat a.frames a.frames | ds-cat --format frames | cmp - two.frames && ds-cat two.frames | grep -c '"doc":3'
> 3

A document comes back from frames, whatever its bytes.
$ printf 'a\0\377\r\n\303' >odd; ds-cat odd | ds-cat | ds-cat | ds-cat --format text | cmp - odd
$ : >empty; ds-cat --from text empty | ds-cat --format text

Nothing announces these documents.
$ ds-cat --format jsonl
< {"doc":0,"start":0,"end":2,"embedding":[0.5,-1]}
< {"doc":7,"embedding":[1,0.1]}
> {"type":"document","doc":0,"name":"","size":null,"mtime_ns":0,"mode":0}
> {"type":"embedding","doc":0,"index":0,"start":0,"end":2,"model":"0000000000000000","dtype":"f32","normalised":false,"embedding":[0.5,-1]}
> {"type":"document_end","doc":0,"size":null,"hash":"0000000000000000"}
> {"type":"document","doc":1,"name":"","size":null,"mtime_ns":0,"mode":0}
> {"type":"embedding","doc":1,"index":0,"start":0,"end":0,"model":"0000000000000000","dtype":"f32","normalised":false,"embedding":[1,0.100000001]}
> {"type":"document_end","doc":1,"size":null,"hash":"0000000000000000"}
> {"type":"end","frames":6,"documents":2}

$ ds-cat --format jsonl | cut -c 1-45
< {"doc":"a","embedding":[0.5]}
< {"doc":"a","embedding":[0.25]}
< {"doc":"b","text":"x"}
< {"doc":3,"text":"y"}
> {"type":"document","doc":0,"name":"a","size":
> {"type":"embedding","doc":0,"index":0,"start"
> {"type":"embedding","doc":0,"index":0,"start"
> {"type":"document_end","doc":0,"size":null,"h
> {"type":"document","doc":1,"name":"b","size":
> {"type":"text","doc":1,"start":0,"text":"x"}
> {"type":"document_end","doc":1,"size":null,"h
> {"type":"document","doc":2,"name":"","size":n
> {"type":"text","doc":2,"start":0,"text":"y"}
> {"type":"document_end","doc":2,"size":null,"h
> {"type":"end","frames":10,"documents":3}

$ ds-cat --format text
< {"embedding":[0.5,-1]}
< {"embedding":[1e-45,0]}
> 0.5 -1
> 1.40129846e-45 0

$ ds-cat -t embedding --format jsonl
< {"doc":0,"text":"x"}
< {"doc":0,"dtype":"i8","scale":0.5,"embedding":[-128,127]}
> {"type":"embedding","doc":0,"index":0,"start":0,"end":0,"model":"0000000000000000","dtype":"i8","scale":0.5,"normalised":false,"embedding":[-128,127]}

Chunks without their overlap are the document.
$ ds-cat --format text
< {"start":0,"end":4,"text":"abcd"}
< {"start":2,"end":6,"overlap_bytes":2,"text":"cdef"}
> abcdef

$ printf '{"type":"hit","name":"n","line":3,"score":0.25,"text":"a\\nb"}' | ds-cat --format text
> n:3:0.25:a b

.npy
$ printf '{"embedding":[0.5,-1]}\n{"embedding":[2,3]}\n' >v.jsonl; ds-cat v.jsonl --format npy -o v.npy && ds-cat v.jsonl --format npy | cmp - v.npy && ds-cat v.npy | ds-cat --format text
> 0.5 -1
> 2 3
$ python3 -c 'import sys; d = open("v.npy", "rb").read(); print(len(d), d[:8], d[10:70].decode(), d[127:128])'
> 144 b'\x93NUMPY\x01\x00' {'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }  b'\n'
$ ds-cat -i v.npy a.frames odd
> v.npy: npy, 2 x 2 f32
> a.frames: frames, 2 documents
>   type               frames  payload bytes
>   document                2             54
>*
$ { cat v.npy; printf x; } | ds-cat
! ds-cat: (stdin): byte 144: bytes follow the last row, the end was expected
>*
? 1
$ head -c 140 v.npy | ds-cat --format jsonl | grep -c '"type":"end"'
! ds-cat: (stdin): byte 140: input ends within a row: 4 more bytes were expected
> 0
? 1
$ sed 's/f4/f8/' v.npy >f8.npy; ds-cat f8.npy -o out
! ds-cat: f8.npy: byte 25: npy head: values of type '<f8'; <f4, <f2 and |i1 are supported
? 1
$ sed 's/False/True /' v.npy >fortran.npy; ds-cat fortran.npy -o out
! ds-cat: fortran.npy: byte 44: npy head: C order ('fortran_order': False) was expected
? 1
$ ls out
!*
? 2

Bad input: one line, exit 1, no file.
$ ds-cat missing a.frames -o out
! ds-cat: missing: cannot open: No such file or directory
? 1
$ ds-cat --format frames a.frames missing >ended; s=$?; cmp ended a.frames && exit $s
! ds-cat: missing: cannot open: No such file or directory
? 1
$ ds-cat . -o out
! ds-cat: .: is a directory
? 1
$ head -c 100 a.frames | ds-cat -o out
! ds-cat: (stdin): byte 100: input ends within the head of a frame: 20 of 48 bytes; its writer did not finish
? 1
$ head -c 80 a.frames | ds-cat -o out
! ds-cat: (stdin): byte 80: input ends without an end frame; its writer did not finish
? 1
$ ds-cat --from frames empty -o out
! ds-cat: empty: byte 0: input is empty, frames were expected
? 1
A pipe with nothing in it is what a writer leaves that was killed early.
$ ds-cat -o out
! ds-cat: (stdin): input is empty; its writer did not begin
? 1
$ ds-cat --from frames -o out
< text
! ds-cat: (stdin): byte 5: input ends within the head of a frame: 5 of 48 bytes; its writer did not finish
? 1
$ { head -c 200 a.frames; printf x; tail -c +202 a.frames; } | ds-cat -o out
!~ ds-cat: \(stdin\): byte \d+: the payload of this frame is damaged: its checksum does not match
? 1
$ head -n 3 a.jsonl | ds-cat -o out
!~ ds-cat: \(stdin\): byte \d+: input ends without an end line; its writer did not finish
? 1
$ sed 2d a.jsonl | ds-cat -o out
!~ ds-cat: \(stdin\): byte \d+: line 14: the end tells of 14 frames and 2 documents, 13 and 2 came
? 1
$ ds-cat -o out
< {"text":"x"}
< {"text":
! ds-cat: (stdin): byte 21: line 2: unexpected token near end of file
? 1
$ ds-cat -o out
< {"text":"x","start":-1}
! ds-cat: (stdin): byte 0: line 1: "start": an integer from 0 to 9223372036854775807 was expected
? 1
$ ds-cat -o out
< {"embedding":[1,"a"]}
! ds-cat: (stdin): byte 0: line 1: "embedding": an array of numbers of its dtype was expected
? 1
$ ds-cat -o out
< {"type":"chunk","start":0,"end":5,"text":"abc"}
! ds-cat: (stdin): byte 0: line 1: "text": 3 bytes, "start" and "end" span 5
? 1
$ ds-cat --format npy -o out
< {"embedding":[1]}
< {"embedding":[1,2]}
! ds-cat: (stdin): byte 18: line 2: a vector of 2 values among vectors of 1, one .npy needs all alike
? 1
$ ds-cat --format npy -o out
< no vectors
! ds-cat: there is no embedding in the input, so no .npy
? 1
$ ds-cat --format text -o out
< {"start":5,"end":6,"text":"f"}
!~ ds-cat: \(stdin\): .*bytes 0 to 5 of the document are missing
? 1
$ ls out
!*
? 2

What was sound comes through.
$ { head -c 200 two.frames; printf x; tail -c +202 two.frames; } | ds-cat --recover --format frames -o saved.frames
!~ ds-cat: \(stdin\): byte \d+: the payload of this frame is damaged: .*
!~ ds-cat: \(stdin\): \d+ bytes were passed over
! ds-cat: (stdin): at least 1 frames were lost
? 1
$ ds-cat saved.frames | wc -l
> 28
$ head -c 2000 two.frames | ds-cat --recover --format frames -q | ds-cat -i
! ds-cat: (stdin): byte 2000: input ends within a frame: 80 of 104 bytes; its writer did not finish
>~ \(stdin\): frames, 3 documents
>*

Wrong usage.
$ ds-cat --format xml
! ds-cat: --format: 'xml' is none of: auto, frames, jsonl, text, npy
! Try 'ds-cat --help'.
? 2
$ ds-cat -t vector
! ds-cat: -t: there is no frame type 'vector'
! Try 'ds-cat --help'.
? 2
$ ds-cat -i --format text
! ds-cat: -i goes with none of --format, -t and -o
! Try 'ds-cat --help'.
? 2

Figures
$ printf hello >in.txt; ds-cat --stats=stats in.txt -o out && python3 -c 'import json; s = json.load(open("stats")); print(s["input_bytes"], s["output_bytes"] > 100, s["documents"]); print(*sorted(s))'
> 5 True 1
> cpu_seconds documents input_bytes output_bytes peak_rss_bytes seconds
$ ds-compress -o s.dsz in.txt && ds-cat --stats=stats s.dsz >out && test "$(grep -o '"input_bytes":[0-9]*' stats)" = "\"input_bytes\":$(wc -c <s.dsz)"
