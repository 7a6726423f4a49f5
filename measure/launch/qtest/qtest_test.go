package qtest_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/launch/qtest"
)

// machine imitates QEMU's side: PCI configuration space, guest memory and fw_cfg.
type machine struct {
	config  map[uint32]uint32 // by configuration address
	address uint32
	memory  map[uint64][]byte
	items   map[uint16][]byte
	dmaHigh uint32
	frozen  bool                            // fw_cfg was read
	late    bool                            // a register was written after that
	reply   func(line, usual string) string // changes an answer
}

func newMachine(files map[string]string) *machine {
	m := &machine{config: map[uint32]uint32{}, memory: map[uint64][]byte{}, items: map[uint16][]byte{0x0e: {0, 0}}}
	dir := binary.BigEndian.AppendUint32(nil, uint32(len(files)))
	selector := uint16(0x20)
	for _, name := range []string{"a", "b/c", "empty", "kernel"} {
		content, ok := files[name]
		if !ok {
			continue
		}
		size := uint32(len(content))
		if name == "kernel" {
			size = 64 << 20
		}
		dir = binary.BigEndian.AppendUint32(dir, size)
		dir = binary.BigEndian.AppendUint16(dir, selector)
		dir = append(dir, 0, 0)
		padded := make([]byte, 56)
		copy(padded, name)
		dir = append(dir, padded...)
		m.items[selector] = []byte(content)
		selector++
	}
	m.items[0x19] = dir
	return m
}

// device puts a function with one BAR on the root bus.
func (m *machine) device(dev, bar int, value uint32) {
	m.config[0x80000000|uint32(dev)<<11] = 0x10001af4
	m.config[0x80000000|uint32(dev)<<11|uint32(0x10+4*bar)] = value
}

// connect serves the machine over pipes.
func (m *machine) connect(tb testing.TB) io.ReadWriter {
	tb.Helper()
	toMachine, fromClient := io.Pipe()
	toClient, fromMachine := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(toMachine)
		for lines.Scan() {
			usual := m.answer(strings.Fields(lines.Text()))
			if m.reply != nil {
				usual = m.reply(lines.Text(), usual)
			}
			if _, err := io.WriteString(fromMachine, usual); err != nil {
				return
			}
		}
		_ = fromMachine.Close()
	}()
	tb.Cleanup(func() { _ = fromClient.Close(); _ = toClient.Close(); <-done })
	return struct {
		io.Reader
		io.Writer
	}{toClient, fromClient}
}

func number(s string) uint64 {
	var v uint64
	fmt.Sscan(s, &v) //nolint:errcheck // the client's own words
	return v
}

func (m *machine) answer(words []string) string {
	switch words[0] {
	case "outl", "outb":
		m.out(number(words[1]), uint32(number(words[2])))
	case "inl":
		v, ok := m.config[m.address]
		if !ok {
			v = 0xffffffff
			if m.address&0xff != 0 {
				v = 0
			}
		}
		return fmt.Sprintf("OK 0x%08x\n", v)
	case "write":
		data, _ := hex.DecodeString(strings.TrimPrefix(words[3], "0x"))
		m.memory[number(words[1])] = data
	case "b64read":
		data := make([]byte, number(words[2]))
		copy(data, m.memory[number(words[1])])
		return "OK " + base64.StdEncoding.EncodeToString(data) + "\n"
	}
	return "OK\n"
}

func (m *machine) out(port uint64, v uint32) {
	switch port {
	case 0xcf8:
		m.address = v
	case 0xcfc:
		m.late = m.late || m.frozen
		m.config[m.address] = v
	case 0x514:
		m.dmaHigh = v
	case 0x518:
		at := uint64(bits.ReverseBytes32(v))
		request := m.memory[at]
		selector := binary.BigEndian.Uint32(request) >> 16
		data := make([]byte, binary.BigEndian.Uint32(request[4:]))
		copy(data, m.items[uint16(selector)])
		m.memory[binary.BigEndian.Uint64(request[8:])] = data
		m.memory[at] = make([]byte, 16) // status: done
		m.frozen = true
	}
}

func TestReadFwCfgReturnsEveryFile(t *testing.T) {
	t.Parallel()
	m := newMachine(map[string]string{"a": "content", "b/c": strings.Repeat("x", 70000), "empty": "", "kernel": "ignored"})
	got, err := qtest.NewClient(m.connect(t)).ReadFwCfg()
	if err != nil {
		t.Fatal(err)
	}
	want := &qtest.FwCfg{
		BootMenu: []byte{0, 0},
		Files:    map[string][]byte{"a": []byte("content"), "b/c": bytes.Repeat([]byte{'x'}, 70000), "empty": {}},
		Skipped:  map[string]uint32{"kernel": 64 << 20},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestChipsetIsLeftAsFirmwareLeavesIt(t *testing.T) {
	t.Parallel()
	m := newMachine(map[string]string{"a": "1"})
	c := qtest.NewClient(m.connect(t))
	if err := c.ProgramChipset(); err != nil {
		t.Fatal(err)
	}
	want := map[uint32]uint32{
		0x80000060: 0xe0000001, 0x80000064: 0, // PCIEXBAR of the host bridge
		0x8000f840: 0x600, 0x8000f844: 0x80, // PMBASE and ACPI control of the LPC bridge
	}
	if d := cmp.Diff(want, m.config); d != "" {
		t.Error(d)
	}
	if m.frozen || m.late {
		t.Error("the tables were frozen before the registers were written")
	}
}

func TestWindowGoesIntoTheFirst64BitBAR(t *testing.T) {
	t.Parallel()
	const base = 0x3800_0000_0000
	m := newMachine(map[string]string{"a": "1"})
	m.device(2, 0, 0x0)      // 32-bit
	m.device(3, 4, 0xc)      // 64-bit prefetchable
	m.device(5, 0, 0xc)      // another one
	m.config[0x80001804] = 5 // command register of device 3
	found, err := qtest.NewClient(m.connect(t)).ProgramWindow(base)
	if err != nil || !found {
		t.Fatalf("found %v, error %v", found, err)
	}
	got := [4]uint32{m.config[0x80001820], m.config[0x80001824], m.config[0x80001804], m.config[0x80002810]}
	if want := [4]uint32{0, base >> 32, 5 | 2, 0xc}; got != want {
		t.Errorf("registers %#x, want %#x", got, want)
	}
	empty := newMachine(map[string]string{"a": "1"})
	if found, err := qtest.NewClient(empty.connect(t)).ProgramWindow(base); err != nil || found {
		t.Errorf("a machine without BARs: found %v, error %v", found, err)
	}
}

func TestBadAnswersAreErrors(t *testing.T) {
	t.Parallel()
	on := func(command, answer string) func(string, string) string {
		return func(line, usual string) string {
			if strings.HasPrefix(line, command) {
				return answer
			}
			return usual
		}
	}
	for name, reply := range map[string]func(line, usual string) string{
		"refused":         on("write", "FAIL Unknown command\n"),
		"empty":           on("outl", "\n"),
		"not base64":      on("b64read", "OK ????\n"),
		"too little":      on("b64read", "OK AAAA\n"),
		"no value":        on("b64read", "OK\n"),
		"two values":      on("b64read", "OK AAAA AAAA\n"),
		"DMA error":       on("b64read 0x8100000", "OK AAAAAQ==\n"),
		"endless line":    on("write", strings.Repeat("x", 5<<20)),
		"no such number":  on("b64read 0x8000000 0x4", "OK AAAAAA==\n"), // zero files
		"too many files":  on("b64read 0x8000000 0x4", "OK /////w==\n"),
		"a repeated name": on("b64read 0x8000000 0x84", "OK "+base64.StdEncoding.EncodeToString(make([]byte, 0x84))+"\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(map[string]string{"a": "1", "b/c": "2"})
			m.reply = reply
			if _, err := qtest.NewClient(m.connect(t)).ReadFwCfg(); !errors.Is(err, qtest.ErrProtocol) {
				t.Errorf("error %v, want %v", err, qtest.ErrProtocol)
			}
		})
	}
	m := newMachine(nil)
	m.reply = on("inl", "OK zero\n")
	if _, err := qtest.NewClient(m.connect(t)).ProgramWindow(1); !errors.Is(err, qtest.ErrProtocol) {
		t.Errorf("a register that is no number: %v", err)
	}
}

func TestInterruptLinesAreSkipped(t *testing.T) {
	t.Parallel()
	m := newMachine(map[string]string{"a": "1"})
	m.reply = func(_, usual string) string { return "IRQ raise 9\n" + usual }
	if _, err := qtest.NewClient(m.connect(t)).ReadFwCfg(); err != nil {
		t.Error(err)
	}
}

func TestAClosedConnectionIsAnError(t *testing.T) {
	t.Parallel()
	closed := struct {
		io.Reader
		io.Writer
	}{strings.NewReader(""), io.Discard}
	c := qtest.NewClient(closed)
	if _, err := c.ReadFwCfg(); !errors.Is(err, io.EOF) {
		t.Errorf("reading: %v", err)
	}
	if err := c.ProgramChipset(); !errors.Is(err, io.EOF) {
		t.Errorf("programming: %v", err)
	}
	broken := struct {
		io.Reader
		io.Writer
	}{strings.NewReader("OK\n"), brokenWriter{}}
	if err := qtest.NewClient(broken).ProgramChipset(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("writing: %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// FuzzReplies lets the other side say anything.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("OK\nOK\nOK\nOK AAAAAA==\nOK AAAAAQ==\n"))
	f.Add([]byte("OK\nOK\nOK\nOK AAAAAA==\nOK AAAAAA==\n"))
	f.Add([]byte("FAIL\n"))
	f.Add([]byte("IRQ raise 1\nIRQ lower 1\n"))
	f.Add([]byte("OK 0xffffffff\n"))
	f.Add([]byte("OK\nOK 0x10001af4\nOK\nOK 0xc\nOK\nOK\nOK\nOK\nOK\nOK 0x7\nOK\nOK\n"))
	f.Fuzz(func(t *testing.T, replies []byte) {
		client := func() *qtest.Client {
			return qtest.NewClient(struct {
				io.Reader
				io.Writer
			}{bytes.NewReader(replies), io.Discard})
		}
		if got, err := client().ReadFwCfg(); err == nil && len(got.Files) > 512 {
			t.Errorf("%d files", len(got.Files))
		}
		_ = client().ProgramChipset()
		_, _ = client().ProgramWindow(1 << 40)
	})
}
