package tl

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/contracts/wire"
	"cocoon/contracts/wire/tl/tlgen"
	"cocoon/tests/golden"
)

var update = flag.Bool("update", false, "write the generated file")

// TestTheGeneratedFileIsFresh: schema_gen.go is what the schema gives.
func TestTheGeneratedFileIsFresh(t *testing.T) {
	all := schema(t)
	want, err := tlgen.Write(all)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema_gen.go", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("schema_gen.go")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("schema_gen.go is stale (%v): go test ./contracts/wire/tl -run Fresh -update", err)
	}
}

func schema(tb testing.TB) []tlgen.Combinator {
	tb.Helper()
	raw, err := os.ReadFile("schema.tl")
	if err != nil {
		tb.Fatal(err)
	}
	all, err := tlgen.Read(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// TestBothGenerationsIDsAndLayouts: every row of both compiled schemas is in ours under its id, and its fields are ours
// or, where the first generation had fewer, the first of ours.
func TestBothGenerationsIDsAndLayouts(t *testing.T) {
	type row struct {
		Name, Kind, ID, Result string
		Fields                 []struct {
			Name, Type string
			Bit        *int `json:"flag_bit"`
		}
	}
	var doc map[string][]row
	golden.JSON(t, "protocol/tl_schema.json", &doc)
	byID := make(map[string]tlgen.Combinator)
	for _, c := range schema(t) {
		byID[fmt.Sprintf("%08x", c.ID)] = c
	}
	for generation, rows := range doc {
		for _, r := range rows {
			c, ok := byID[r.ID]
			if !ok || c.Name != r.Name || c.Result != r.Result || c.Function != (r.Kind == "function") {
				t.Errorf("%s %s %s: ours is %+v", generation, r.Name, r.ID, c)
				continue
			}
			for i, f := range r.Fields {
				bit := -1
				if f.Bit != nil {
					bit = *f.Bit
				}
				want := tlgen.Field{Name: f.Name, Go: tlgen.GoName(f.Name), Type: strings.TrimPrefix(f.Type, "vector "), Vector: strings.HasPrefix(f.Type, "vector "), Bit: bit}
				if i >= len(c.Fields) || c.Fields[i] != want {
					t.Errorf("%s %s: field %d is %+v, want %+v", generation, r.Name, i, c.Fields, want)
				}
			}
			if len(c.Fields) != len(r.Fields) && (generation != "dec2025" || c.Fields[len(r.Fields)].Bit < 0) {
				t.Errorf("%s %s: %d fields, want %d", generation, r.Name, len(c.Fields), len(r.Fields))
			}
		}
	}
}

// sample is an encoding of the vectors with the value it stands for.
type sample struct {
	Name  string         `json:"name"`
	Kind  string         `json:"kind"`
	Value map[string]any `json:"value"`
	Hex   string         `json:"hex"`
}

func samples(tb testing.TB) (out []sample) {
	tb.Helper()
	var doc struct {
		Encodings  []sample `json:"encodings"`
		Extensions []sample `json:"extension_proto5"`
	}
	golden.JSON(tb, "protocol/tl_encodings.json", &doc)
	for _, s := range append(doc.Encodings, doc.Extensions...) {
		if s.Kind != "frame" {
			out = append(out, s)
		}
	}
	var rows struct {
		Rows []struct {
			Line string `json:"line"`
			Hex  string `json:"encoding_hex"`
		} `json:"rows"`
	}
	golden.JSON(tb, "inference/tl_extensions.json", &rows)
	for _, r := range rows.Rows {
		out = append(out, sample{Name: strings.Fields(r.Line)[0], Hex: r.Hex})
	}
	return out
}

// TestEncodings: the vectors' bytes give the vectors' values, and the values the bytes.
func TestEncodings(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.Name, func(t *testing.T) {
			raw, err := hex.DecodeString(s.Hex)
			if err != nil {
				t.Fatal(err)
			}
			v, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if v.TLName() != s.Name {
				t.Errorf("it is a %s", v.TLName())
			}
			if got := Encode(v); !bytes.Equal(got, raw) {
				t.Errorf("we write %x\nwant     %x", got, raw)
			}
			if !strings.Contains(s.Name, "tcp.query") { // its value refers to another row
				compare(t, s.Name, reflect.ValueOf(v), s.Value)
			}
			refused(t, raw)
		})
	}
}

// refused: every prefix, and every byte more, is refused.
func refused(t *testing.T, raw []byte) {
	t.Helper()
	for n := range raw {
		if _, err := Parse(raw[:n]); !errors.Is(err, wire.ErrTL) {
			t.Fatalf("the first %d bytes of %d: %v", n, len(raw), err)
		}
	}
	if _, err := Parse(append(bytes.Clone(raw), 0, 0, 0, 0)); !errors.Is(err, wire.ErrTL) {
		t.Errorf("with four bytes more: %v", err)
	}
}

// compare holds a value's fields against a vector's, as far as the vector names them.
func compare(t *testing.T, path string, v reflect.Value, want any) {
	t.Helper()
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch want := want.(type) {
	case map[string]any:
		for key, w := range want {
			name, isHex := strings.CutSuffix(key, "_hex")
			name, isText := strings.CutSuffix(name, "_text")
			field := v.FieldByName(tlgen.GoName(name))
			switch {
			case key == "flags" || key == "@":
			case !field.IsValid():
				t.Errorf("%s has no field %s", path, key)
			case isHex:
				compare(t, path+"."+key, reflect.ValueOf(hex.EncodeToString(field.Bytes())), w)
			case isText:
				compare(t, path+"."+key, reflect.ValueOf(string(field.Bytes())), w)
			default:
				compare(t, path+"."+key, field, w)
			}
		}
	case []any:
		for i, w := range want {
			if v.Kind() == reflect.Struct { // a record written as a list
				compare(t, path, v.Field(i), w)
			} else {
				compare(t, path, v.Index(i), w)
			}
		}
	default:
		if got := text(v); got != fmt.Sprint(want) && !same(got, want) && v.Kind() != reflect.Struct {
			t.Errorf("%s is %s, want %v", path, got, want)
		}
	}
}

func text(v reflect.Value) string {
	if v.Kind() == reflect.Array {
		raw := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(raw), v)
		return hex.EncodeToString(raw)
	}
	return fmt.Sprint(v.Interface())
}

// same compares numbers that are written in different ways.
func same(got string, want any) bool {
	s, ok := want.(string)
	if !ok {
		raw, _ := json.Marshal(want)
		s = string(raw)
	}
	a, errA := strconv.ParseFloat(got, 64)
	b, errB := strconv.ParseFloat(s, 64)
	if n, err := strconv.ParseUint(s, 0, 64); err == nil {
		return got == strconv.FormatUint(n, 10)
	}
	return errA == nil && errB == nil && a == b
}

func TestWhatIsRefused(t *testing.T) {
	params := func(flags uint32, rest ...byte) []byte {
		out := wire.AppendBytes(wire.AppendUint(wire.AppendUint(nil, (&ClientParams{}).TLID()), flags), "x")
		return append(out, rest...)
	}
	huge := wire.AppendInt(wire.AppendUint(nil, (&ClientWorkerTypesV2{}).TLID()), 1<<30)
	for name, tc := range map[string]struct {
		in   []byte
		want string
	}{
		"empty":             {nil, "wanted"},
		"unknown id":        {[]byte{1, 2, 3, 4}, "04030201"},
		"unknown flag bit":  {params(1 << 5), "flag bit 5"},
		"flag without data": {params(2), "wanted"},
		"no Bool":           {params(1, 1, 0, 0, 0), "no Bool"},
		"huge vector":       {huge, "vector of"},
		"negative vector":   {append(huge[:4:4], 0xff, 0xff, 0xff, 0xff), "vector of"},
		"wrong union": {
			wire.AppendLong(wire.AppendLong(wire.AppendUint(wire.AppendUint(nil, (&ClientPaymentStatus{}).TLID()), 7), 0), 0), "is no proxy.SignedPayment",
		},
	} {
		if v, err := Parse(tc.in); !errors.Is(err, wire.ErrTL) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, %v, want an error about %q", name, v, err, tc.want)
		}
	}
	if v, err := Parse(params(0)); err != nil || v.(*ClientParams).IsTest != nil { //nolint:forcetypeassert // its id was written above
		t.Errorf("no flags: %v, %v", v, err)
	}
}

// TestFlagsAnnounceFieldsTogether: one field of a flag brings the others along as zeros.
func TestFlagsAnnounceFieldsTogether(t *testing.T) {
	p := &WorkerParams{Model: "m", MaxActiveRequests: new(int32(60))}
	v, err := Parse(Encode(p))
	if err != nil {
		t.Fatal(err)
	}
	want := &WorkerParams{Model: "m", MaxActiveRequests: new(int32(60)), IsTest: new(false), ProxyCnt: new(int32(0))}
	if diff := cmp.Diff(Object(want), v); diff != "" {
		t.Error(diff)
	}
}

// TestEveryTypeSurvivesItsEncoding: the empty value of every type is read as it was written.
func TestEveryTypeSurvivesItsEncoding(t *testing.T) {
	for _, c := range schema(t) {
		v := decode(c.ID, wire.NewCursor(nil)) // the cursor has ended: all fields are zero
		if v == nil || v.TLID() != c.ID || v.TLName() != c.Name || v.TLType() != c.Result {
			t.Errorf("%s: %v", c.Name, v)
			continue
		}
		fillUnions(reflect.ValueOf(v).Elem())
		if n := len(v.Append(nil)); v.Size() != n {
			t.Errorf("%s: Size says %d, it takes %d", c.Name, v.Size(), n)
		}
		back, err := Parse(Encode(v))
		if err != nil || !bytes.Equal(Encode(back), Encode(v)) {
			t.Errorf("%s: %v", c.Name, err)
		}
		if _, is := v.(Function); is != c.Function {
			t.Errorf("%s is a function: %v", c.Name, is)
		}
	}
}

// TestOnlyAViewSharesMemory: what was parsed stays as it was when its source changes; a view's bytes are the source's.
func TestOnlyAViewSharesMemory(t *testing.T) {
	for name, tc := range map[string]struct {
		read func([]byte) (Object, error)
		want string
	}{
		"parsed": {Parse, "before"},
		"viewed": {View, "behind"},
	} {
		raw := Encode(&HTTPRequest{Method: "before", Payload: []byte("before")})
		v, err := tc.read(raw)
		if err != nil {
			t.Fatal(err)
		}
		copy(raw, bytes.ReplaceAll(raw, []byte("before"), []byte("behind")))
		got := v.(*HTTPRequest) //nolint:forcetypeassert // its id was written above
		if string(got.Payload) != tc.want || got.Method != "before" || cap(got.Payload) != len(got.Payload) {
			t.Errorf("%s: %q, %q (capacity %d)", name, got.Method, got.Payload, cap(got.Payload))
		}
	}
}

// fillUnions gives every field of a boxed type a value.
func fillUnions(v reflect.Value) {
	for _, f := range v.Fields() {
		if f.Kind() != reflect.Interface {
			continue
		}
		for _, o := range []any{&ProxySignedPaymentEmpty{}, &ClientProxyConnectionAuthLong{}, &RootConfigPseudo{}} {
			if reflect.TypeOf(o).Implements(f.Type()) {
				f.Set(reflect.ValueOf(o))
			}
		}
	}
}

// FuzzParse: what is read is written as the same bytes, or, where flags announce nothing, as a value that reads the same.
func FuzzParse(f *testing.F) {
	for _, s := range samples(f) {
		raw, err := hex.DecodeString(s.Hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := Parse(data)
		if err != nil {
			if !errors.Is(err, wire.ErrTL) {
				t.Fatalf("%v is no TL error", err)
			}
			return
		}
		if got := Encode(v); !bytes.Equal(got, data) || v.Size() != len(data) {
			t.Fatalf("%s:\nread  %x\nwrite %x", v.TLName(), data, got)
		}
		if view, err := View(data); err != nil || !bytes.Equal(Encode(view), data) {
			t.Fatalf("%s: viewed as %v, %v", v.TLName(), view, err)
		}
	})
}
