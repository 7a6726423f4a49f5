package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/tests/golden"
)

// TestBytesVectors: every boundary of the length forms, byte for byte, and back.
func TestBytesVectors(t *testing.T) {
	var vectors struct {
		OK []struct {
			Len     int    `json:"len"`
			Header  string `json:"header_hex"`
			Encoded int    `json:"encoded_bytes"`
			Sum     string `json:"encoded_sha256"`
		} `json:"ok"`
		Refused []struct {
			Hex string `json:"hex"`
			Why string `json:"why"`
		} `json:"must_be_refused_by_our_decoder"`
	}
	golden.JSON(t, "protocol/tl_strings.json", &vectors)
	if len(vectors.OK) < 10 || len(vectors.Refused) < 6 {
		t.Fatalf("%d and %d vectors", len(vectors.OK), len(vectors.Refused))
	}
	for _, v := range vectors.OK {
		content := make([]byte, v.Len)
		for i := range content {
			content[i] = byte(7*i + 1)
		}
		got := AppendBytes(nil, content)
		sum := sha256.Sum256(got)
		if len(got) != v.Encoded || BytesSize(v.Len) != v.Encoded || hex.EncodeToString(sum[:]) != v.Sum || !bytes.HasPrefix(got, golden.Hex(t, v.Header)) {
			t.Errorf("%d bytes: %d encoded (BytesSize %d), %x, want %d, %s", v.Len, len(got), BytesSize(v.Len), sum, v.Encoded, v.Sum)
		}
		c := NewCursor(got)
		if back := c.Bytes(v.Len); c.End() != nil || !bytes.Equal(back, content) {
			t.Errorf("%d bytes came back as %d, %v", v.Len, len(back), c.Err())
		}
		if v.Len > 0 {
			if c := NewCursor(got); c.Bytes(v.Len-1) != nil || !errors.Is(c.Err(), ErrTL) {
				t.Errorf("%d bytes accepted in a field of %d: %v", v.Len, v.Len-1, c.Err())
			}
		}
	}
	for _, v := range vectors.Refused {
		c := NewCursor(golden.Hex(t, v.Hex))
		c.Bytes(1 << 20)
		if !errors.Is(c.End(), ErrTL) {
			t.Errorf("%s (%s) accepted", v.Hex, v.Why)
		}
	}
}

// TestMessageVector: a whole message of the network, built field by field, is the recorded one and reads back.
func TestMessageVector(t *testing.T) {
	var vectors struct {
		Encodings []struct {
			Name string `json:"name"`
			Hex  string `json:"hex"`
		} `json:"encodings"`
	}
	golden.JSON(t, "protocol/tl_encodings.json", &vectors)
	want := ""
	for _, v := range vectors.Encodings {
		if v.Name == "client.connectToProxy" {
			want = v.Hex
		}
	}
	const id, owner = 0xff5fa0f4, "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k"
	b := AppendUint(nil, id)
	b = AppendUint(b, 3)
	b = AppendBytes(b, owner)
	b = AppendBool(b, false)
	b = AppendInt(AppendInt(AppendInt(b, 1), 2), 7)
	if got := hex.EncodeToString(b); got != want {
		t.Fatalf("encoded %s, want %s", got, want)
	}
	c := NewCursor(b)
	c.ID(id)
	got := []any{c.Flags(3), c.String(100), c.Bool(), c.Int(), c.Int(), c.Int(), c.End()}
	if diff := cmp.Diff([]any{uint32(3), owner, false, int32(1), int32(2), int32(7), error(nil)}, got); diff != "" {
		t.Fatal(diff)
	}
}

// TestScalars: every scalar reads back, with its extremes.
func TestScalars(t *testing.T) {
	for _, v := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64} {
		if c := NewCursor(AppendLong(nil, v)); c.Long() != v || c.End() != nil {
			t.Errorf("long %d did not survive: %v", v, c.Err())
		}
		small := int32(v)
		if c := NewCursor(AppendInt(nil, small)); c.Int() != small || c.End() != nil {
			t.Errorf("int %d did not survive: %v", small, c.Err())
		}
	}
	for _, v := range []float64{0, 114, math.Inf(-1), math.SmallestNonzeroFloat64} {
		if c := NewCursor(AppendDouble(nil, v)); c.Double() != v || c.End() != nil {
			t.Errorf("double %v did not survive: %v", v, c.Err())
		}
	}
	if got := hex.EncodeToString(AppendBool(AppendBool(nil, true), false)); got != "b5757299379779bc" {
		t.Errorf("Bool encodes as %s", got)
	}
	if c := NewCursor(AppendBool(nil, true)); !c.Bool() || c.End() != nil {
		t.Errorf("true did not survive: %v", c.Err())
	}
}

// TestCursorRefuses: each refusal names its rule and leaves nothing behind.
func TestCursorRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		data []byte
		read func(*Cursor)
		want string
	}{
		"int of three bytes":      {[]byte{1, 2, 3}, func(c *Cursor) { c.Int() }, "4 bytes wanted, 3 left"},
		"long of seven bytes":     {make([]byte, 7), func(c *Cursor) { c.Long() }, "8 bytes wanted"},
		"trailing bytes":          {make([]byte, 5), func(c *Cursor) { c.Int() }, "1 bytes after the last field"},
		"neither Bool":            {AppendUint(nil, 1), func(c *Cursor) { c.Bool() }, "00000001 is no Bool"},
		"other constructor":       {AppendUint(nil, 1), func(c *Cursor) { c.ID(2) }, "constructor 00000001, want 00000002"},
		"unknown flag":            {AppendUint(nil, 0x24), func(c *Cursor) { c.Flags(4) }, "unknown flag bit 5"},
		"negative vector":         {AppendInt(nil, -1), func(c *Cursor) { c.Count(4) }, "vector of -1"},
		"vector beyond the input": {append(AppendInt(nil, 3), make([]byte, 8)...), func(c *Cursor) { c.Count(4) }, "vector of 3 elements in 8 bytes"},
		"vector of nothing":       {AppendInt(nil, math.MaxInt32), func(c *Cursor) { c.Count(0) }, "vector of 2147483647"},
		"negative raw":            {make([]byte, 8), func(c *Cursor) { c.Raw(-1) }, "-1 bytes wanted"},
		"huge length":             {[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, func(c *Cursor) { c.Bytes(math.MaxInt) }, "bytes"},
		"the caller's own rule":   {nil, func(c *Cursor) { c.Fail("price %d is negative", -5) }, "price -5 is negative"},
	} {
		t.Run(name, func(t *testing.T) {
			c := NewCursor(tc.data)
			tc.read(c)
			err := c.End()
			if !errors.Is(err, ErrTL) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
			if c.Remaining() != 0 || c.Raw(0) != nil || c.Int() != 0 || c.Long() != 0 || c.Bytes(9) != nil || c.Count(1) != 0 || c.Flags(1) != 0 || c.Bool() {
				t.Error("a cursor with an error still gives values")
			}
			c.Fail("another")
			if err.Error() != c.Err().Error() {
				t.Errorf("the first error was replaced by %v", c.Err())
			}
		})
	}
}

// TestCursorShares: fields share the input's memory but cannot grow into what follows.
func TestCursorShares(t *testing.T) {
	data := AppendBytes(nil, "abc")
	data = AppendInt(data, 7)
	c := NewCursor(data)
	field := c.Bytes(3)
	_ = append(field, 'x')
	if got := c.Int(); got != 7 || &field[0] != &data[1] {
		t.Fatalf("next field is %d", got)
	}
	if n := testing.AllocsPerRun(100, func() { NewCursor(data).Bytes(3) }); n != 0 {
		t.Errorf("reading bytes allocates %v times", n)
	}
}

// FuzzCursor: whatever the bytes, what is read encodes back to them, and the cursor never goes back or beyond.
func FuzzCursor(f *testing.F) {
	f.Add([]byte("sil"), AppendInt(AppendBytes(nil, "abc"), 1))
	f.Add([]byte("s"), []byte{0xfe, 3, 0, 0, 'a', 'b', 'c', 0})
	f.Add([]byte("s"), []byte{0xff, 0, 0, 0, 1, 0, 0, 0})
	f.Add([]byte("bdv"), AppendDouble(AppendBool(nil, true), 1.5))
	f.Add([]byte("vvv"), AppendInt(nil, 0))
	f.Add([]byte("s"), AppendBytes(nil, strings.Repeat("x", 300)))
	f.Fuzz(func(t *testing.T, program, data []byte) {
		c := NewCursor(data)
		var back []byte
		for _, op := range program {
			left := c.Remaining()
			switch op {
			case 's':
				b := c.Bytes(1 << 16)
				if c.Err() == nil {
					back = AppendBytes(back, b)
				}
			case 'i':
				back = AppendInt(back, c.Int())
			case 'l':
				back = AppendLong(back, c.Long())
			case 'd':
				back = AppendLong(back, int64(math.Float64bits(c.Double())))
			case 'b':
				back = AppendBool(back, c.Bool())
			case 'v':
				n := c.Count(4)
				if n*4 > left {
					t.Fatalf("a vector of %d in %d bytes", n, left)
				}
				back = AppendInt(back, int32(n))
			}
			if c.Err() != nil {
				return
			}
			if c.Remaining() > left {
				t.Fatal("the cursor went back")
			}
		}
		if read := data[:len(data)-c.Remaining()]; !bytes.Equal(back, read) {
			t.Fatalf("read %x, encoded %x", read, back)
		}
	})
}
