package measuretest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-configfs-tsm/configfs/configfsi"

	"cocoon/measure/measuretest"
	"cocoon/measure/simtd"
	"cocoon/measure/tdx"
)

func TestAnswersFollowTheMethods(t *testing.T) {
	p := platform(t)
	data := make([]byte, tdx.ReportDataSize)
	tests := map[string]struct {
		request simtd.Request
		size    int
		refusal string
	}{
		"report":       {simtd.Request{Method: simtd.GetReport, ReportData: data}, tdx.ReportSize, ""},
		"register":     {simtd.Request{Method: simtd.ReadMR, Register: new(tdx.RTMR1)}, tdx.DigestSize, ""},
		"log":          {simtd.Request{Method: simtd.EventLog}, 64 << 10, ""},
		"key":          {simtd.Request{Method: simtd.SealKey, Label: "x"}, 32, ""},
		"extend":       {simtd.Request{Method: simtd.ExtendRTMR, Register: new(tdx.RTMR3), Digest: new(tdx.Digest)}, 0, ""},
		"extend MRTD":  {simtd.Request{Method: simtd.ExtendRTMR, Register: new(tdx.MRTD), Digest: new(tdx.Digest)}, 0, "cannot be extended"},
		"no such":      {simtd.Request{Method: simtd.ReadMR, Register: new(tdx.Register(9))}, 0, "does not exist"},
		"reset":        {simtd.Request{Method: simtd.Reset}, 0, ""},
		"malformed":    {simtd.Request{Method: simtd.GetQuote}, 0, "report data has 0 bytes"},
		"not a method": {simtd.Request{Method: "Trust"}, 0, "unknown"},
	}
	for name, tc := range tests {
		tc.request.ID = 77
		a := p.Answer(t.Context(), tc.request)
		if a.ID != 77 || tc.refusal == "" && (a.Error != "" || len(a.Data) != tc.size) || !strings.Contains(a.Error, tc.refusal) {
			t.Errorf("%s: %d bytes, error %q", name, len(a.Data), a.Error)
		}
	}
}

func TestAMalformedRequestEndsItsSessionAlone(t *testing.T) {
	p := platform(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var served sync.WaitGroup
	served.Go(func() {
		if err := p.Serve(ctx, l, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	})
	dial := func() net.Conn {
		t.Helper()
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	good, bad := dial(), dial()
	if _, err := bad.Write(binary.LittleEndian.AppendUint32(nil, 1<<30)); err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the session goes on: %v", err)
	}
	if v, err := simtd.NewConn(good, 1).Call(simtd.Request{Method: simtd.ReadMR, Register: new(tdx.RTMR0)}); err != nil || len(v) != tdx.DigestSize {
		t.Errorf("the other session: %x, %v", v, err)
	}
	cancel()
	served.Wait()
	if _, err := good.Read(make([]byte, 1)); err == nil {
		t.Error("the end of the service did not end its sessions")
	}
	_, _ = good.Close(), bad.Close()
}

func TestAGuestThatDoesNotReadIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := platform(t)
		guest, host := net.Pipe()
		done := make(chan error, 1)
		go func() { done <- p.ServeConn(t.Context(), host) }()
		start := time.Now()
		if err := simtd.Write(guest, simtd.Request{Method: simtd.EventLog}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil || time.Since(start) != 30*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		_ = guest.Close()
	})
}

var _ configfsi.Client = (*measuretest.ConfigFS)(nil)

func TestConfigFSHasTheKernelsRules(t *testing.T) {
	p := platform(t)
	fs := measuretest.NewConfigFS(p.TD)
	const root = "/sys/kernel/config/tsm/report"
	dir, err := fs.MkdirTemp(root, "entry")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) (string, error) {
		data, err := fs.ReadFile(dir + "/" + name)
		return string(data), err
	}
	is := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	_, err = read("outblob")
	is("report without a request", err, syscall.EINVAL)
	is("empty request", fs.WriteFile(dir+"/inblob", nil), syscall.EINVAL)
	is("long request", fs.WriteFile(dir+"/inblob", make([]byte, 65)), syscall.EINVAL)
	is("writing the provider", fs.WriteFile(dir+"/provider", []byte("x")), syscall.EACCES)
	is("writing nowhere", fs.WriteFile(root+"/other/inblob", []byte("x")), os.ErrNotExist)
	if g, err := read("generation"); g != "0\n" || err != nil {
		t.Errorf("generation %q, %v", g, err)
	}
	is("short request", fs.WriteFile(dir+"/inblob", make([]byte, 63)), nil)
	_, err = read("outblob")
	is("report of a short request", err, syscall.EINVAL)
	is("request", fs.WriteFile(dir+"/inblob", make([]byte, 64)), nil)
	if g, err := read("generation"); g != "2\n" || err != nil {
		t.Errorf("generation %q, %v", g, err)
	}
	first, err := read("outblob")
	is("report", err, nil)
	if err := p.Extend(tdx.RTMR3, tdx.Digest{}); err != nil {
		t.Fatal(err)
	}
	if again, _ := read("outblob"); again != first {
		t.Error("a report that is current was made again")
	}
	is("request again", fs.WriteFile(dir+"/inblob", make([]byte, 64)), nil)
	if again, _ := read("outblob"); again == first {
		t.Error("a new request gave the old report")
	}
	for _, name := range []string{"auxblob", "privlevel", "inblob"} {
		_, err = read(name)
		is("reading "+name, err, os.ErrNotExist)
	}
	_, err = fs.ReadDir(root)
	is("listing", err, syscall.EOPNOTSUPP)
	_, err = fs.MkdirTemp("/sys/kernel/config/tsm/other", "entry")
	is("another subsystem", err, os.ErrNotExist)
	is("removing", fs.RemoveAll(dir), nil)
	is("removing again", fs.RemoveAll(dir), os.ErrNotExist)
}

func TestAFailingServiceIsAnInputOutputError(t *testing.T) {
	f, err := measuretest.FindFault("quote-fails")
	if err != nil {
		t.Fatal(err)
	}
	p := platform(t, func(o *measuretest.Options) { measuretest.Inject(o, nil, []measuretest.Fault{f}) })
	fs := measuretest.NewConfigFS(p.TD)
	dir, err := fs.MkdirTemp("/sys/kernel/config/tsm/report", "entry")
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.WriteFile(dir+"/inblob", make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadFile(dir + "/outblob"); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
}
