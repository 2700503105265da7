"""frame_reader - ds-frame(5) read by nothing but Python: frame_reader.py list|text|vectors < STREAM"""
import struct, sys
SECRET = bytes.fromhex("b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
                       "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c")
MASK = 2**64 - 1
def head_hash(h):  # XXH3-64 of 40 bytes
    acc = 40 * 0x9E3779B185EBCA87
    for at, key in ((0, 0), (24, 16), (16, 32), (8, 48)):
        (a, b), (x, y) = struct.unpack_from("<QQ", h, at), struct.unpack_from("<QQ", SECRET, key)
        acc += ((a ^ x) * (b ^ y) & MASK) ^ ((a ^ x) * (b ^ y) >> 64)
    acc = ((acc & MASK) ^ (acc & MASK) >> 37) * 0x165667919E3779F9 & MASK
    return acc ^ acc >> 32
def frames(f):  # (type, document, payload) of each frame, end frames checked and left out
    sequence = size = documents = 0
    while head := f.read(48):
        magic, version, kind, flags, doc, seq, n, _, check = struct.unpack("<4sBBHQQQQQ", head)
        assert (magic, version, check) == (b"\xf7DSF", 1, head_hash(head)) and flags < 256 and seq == sequence
        payload, padding = f.read(n), f.read(-n % 8)
        assert len(payload) == n and padding == bytes(-n % 8)
        if kind == 10:
            assert struct.unpack("<QQQ", payload) == (sequence, size, documents)
            sequence = size = documents = 0
            continue
        sequence, size, documents = sequence + 1, size + n, documents + (kind == 1)
        yield kind, doc, payload
    assert sequence == 0
PRINT = {"list": lambda kind, doc, p: b"%d %d %d\n" % (kind, doc, len(p)),
         "text": lambda kind, doc, p: {2: p[8:], 4: p[56 + int.from_bytes(p[40:48], "little"):]}.get(kind, b""),
         "vectors": lambda kind, doc, p: p[48:] if kind == 5 and p[36] == 0 else b""}
sys.stdout.buffer.writelines(PRINT[sys.argv[1]](*frame) for frame in frames(sys.stdin.buffer))
