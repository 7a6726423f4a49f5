package device_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"cocoon/guest/device"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func platform(tb testing.TB) *measuretest.Platform {
	tb.Helper()
	p, err := measuretest.NewPlatform(measuretest.Options{Seed: [32]byte{9}, Now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func reportData(b byte) (d [tdx.ReportDataSize]byte) {
	copy(d[:], bytes.Repeat([]byte{b}, len(d)))
	return d
}

func checkQuote(tb testing.TB, quote []byte, data [tdx.ReportDataSize]byte) {
	tb.Helper()
	q, err := tdx.ParseQuote(quote)
	if err != nil {
		tb.Fatal(err)
	}
	if q.TD.ReportData != data || len(q.Signed) != len(quote) {
		tb.Errorf("quote over %x, %d of %d bytes", q.TD.ReportData, len(q.Signed), len(quote))
	}
}

func TestQuotesComeFromConfigFSAndLeaveNothingBehind(t *testing.T) {
	kernel := measuretest.NewConfigFS(platform(t).TD)
	q := device.NewQuotes(kernel)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			data := reportData(byte(i))
			quote, err := q.Quote(t.Context(), data)
			if err != nil {
				t.Error(err)
				return
			}
			checkQuote(t, quote, data)
		})
	}
	wait.Wait()
	if n := kernel.Entries(); n != 0 {
		t.Errorf("%d folders are left", n)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	if _, err := q.Quote(t.Context(), reportData(1)); !errors.Is(err, device.ErrClosed) {
		t.Errorf("a closed source gave %v", err)
	}
}

func TestConditionsThatPassAreWaitedOutAndOthersAreNot(t *testing.T) {
	tests := map[string]struct {
		err   error
		times int
		tries int64
		want  error
	}{
		"busy driver":      {syscall.EBUSY, 3, 4, nil},
		"service too slow": {syscall.ETIMEDOUT, 1, 2, nil},
		"interrupted":      {syscall.EINTR, 2, 3, nil},
		"driver refuses":   {syscall.EINVAL, 1, 1, syscall.EINVAL},
		"service fails":    {syscall.EIO, 1, 1, syscall.EIO},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kernel := measuretest.NewConfigFS(platform(t).TD)
				var tries int64
				kernel.NewReport = func() error {
					if tries++; tries <= int64(tc.times) {
						return tc.err
					}
					return nil
				}
				quote, err := device.NewQuotes(kernel).Quote(t.Context(), reportData(7))
				if !errors.Is(err, tc.want) || tries != tc.tries {
					t.Fatalf("%v after %d tries, want %v after %d", err, tries, tc.want, tc.tries)
				}
				if tc.want == nil {
					checkQuote(t, quote, reportData(7))
				}
				if n := kernel.Entries(); n != 0 {
					t.Errorf("%d folders are left", n)
				}
			})
		})
	}
}

func TestABusyDriverIsGivenUpAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kernel := measuretest.NewConfigFS(platform(t).TD)
		var tries atomic.Int64
		kernel.NewReport = func() error { tries.Add(1); return syscall.EBUSY }
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := device.NewQuotes(kernel).Quote(ctx, reportData(1))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		start = time.Now()
		_, err = device.NewQuotes(kernel).Quote(t.Context(), reportData(1))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 75*time.Second {
			t.Errorf("without a deadline of its own, after %s: %v", time.Since(start), err)
		}
		if n := tries.Load(); n < 40 || n > 60 { // the waits grow to two seconds and no further
			t.Errorf("%d tries in 85 seconds", n)
		}
		synctest.Wait()
	})
}

// interfering writes into every new folder once, between the request and the reading of its report.
type interfering struct {
	*measuretest.ConfigFS
	left atomic.Int32
}

func (i *interfering) ReadFile(name string) ([]byte, error) {
	if filepath.Base(name) == "outblob" && i.left.Add(-1) >= 0 {
		data := reportData(0xee)
		if err := i.WriteFile(filepath.Join(filepath.Dir(name), "inblob"), data[:]); err != nil {
			return nil, err
		}
	}
	return i.ConfigFS.ReadFile(name)
}

func TestAnotherWriterInTheFolderIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kernel := &interfering{ConfigFS: measuretest.NewConfigFS(platform(t).TD)}
		kernel.left.Store(2)
		quote, err := device.NewQuotes(kernel).Quote(t.Context(), reportData(5))
		if err != nil {
			t.Fatal(err)
		}
		checkQuote(t, quote, reportData(5))
		if kernel.left.Load() >= 0 {
			t.Error("nobody interfered")
		}
	})
}

func TestQuotesOfOthersAreRefused(t *testing.T) {
	tests := map[string]struct {
		edit func(*measuretest.ConfigFS, *measuretest.Platform)
		want string
	}{
		"another provider": {func(c *measuretest.ConfigFS, _ *measuretest.Platform) { c.Provider = "sev_guest" }, "sev_guest"},
		"other report data": {func(c *measuretest.ConfigFS, p *measuretest.Platform) {
			c.Edit = func([]byte) []byte {
				q, _ := p.Quote(context.Background(), reportData(2))
				return q
			}
		}, "other report data"},
		"an enclave's quote": {func(c *measuretest.ConfigFS, p *measuretest.Platform) {
			c.Edit = func([]byte) []byte {
				q, _ := p.QuoteWith(context.Background(), measuretest.Spec{Version: 3, ReportData: reportData(1)})
				return q
			}
		}, "SGX"},
		"no quote": {func(c *measuretest.ConfigFS, _ *measuretest.Platform) {
			c.Edit = func(q []byte) []byte { return q[:100] }
		}, "reading quote"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := platform(t)
			kernel := measuretest.NewConfigFS(p.TD)
			tc.edit(kernel, p)
			if _, err := device.NewQuotes(kernel).Quote(t.Context(), reportData(1)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestPaddingIsCutOff(t *testing.T) {
	kernel := measuretest.NewConfigFS(platform(t).TD)
	kernel.Edit = func(q []byte) []byte { return append(q, make([]byte, 8000-len(q))...) }
	quote, err := device.NewQuotes(kernel).Quote(t.Context(), reportData(1))
	if err != nil {
		t.Fatal(err)
	}
	checkQuote(t, quote, reportData(1))
}

func TestARequestThatTheKernelWorksOnDelaysTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kernel := measuretest.NewConfigFS(platform(t).TD)
		kernel.NewReport = func() error { time.Sleep(20 * time.Second); return nil } //nolint:forbidigo // the bubble's clock
		q := device.NewQuotes(kernel)
		start := time.Now()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := q.Quote(short, reportData(1)); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		quote, err := q.Quote(t.Context(), reportData(2))
		if err != nil || time.Since(start) != 40*time.Second {
			t.Fatalf("after %s: %v", time.Since(start), err)
		}
		checkQuote(t, quote, reportData(2))
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestHardwareNamesWhatIsMissing(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/config/tsm/report"); err == nil {
		t.Skip("this machine has configfs-tsm")
	}
	if _, err := device.OpenHardware(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "tdx_guest") {
		t.Errorf("got %v", err)
	}
	h := device.Hardware{Device: filepath.Join(t.TempDir(), "tdx_guest"), LogFile: filepath.Join(t.TempDir(), "CCEL")}
	if _, err := h.Report(t.Context(), reportData(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := h.EventLog(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestTheEventLogIsReadWholeAndBounded(t *testing.T) {
	want, err := platform(t).EventLog()
	if err != nil {
		t.Fatal(err)
	}
	h := device.Hardware{LogFile: filepath.Join(t.TempDir(), "CCEL")}
	if err := os.WriteFile(h.LogFile, want, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := h.EventLog(t.Context()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := os.Truncate(h.LogFile, 4<<20+1); err != nil {
		t.Fatal(err)
	}
	if _, err := h.EventLog(t.Context()); err == nil {
		t.Error("a log without end was read")
	}
}
