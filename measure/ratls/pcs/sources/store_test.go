package sources

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/ratls/pcs"
	"cocoon/tests/pcstest"
)

func openStore(t *testing.T, dir string, roots *dcap.Roots) *Store {
	t.Helper()
	s, err := OpenStore(dir, roots)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreKeepsSignedOriginals(t *testing.T) {
	p := pcstest.Platform(t)
	b := pcstest.Issued(t, p, 0)
	name := pcstest.NameOf(t, b, p.Roots())
	dir := t.TempDir()
	if err := openStore(t, dir, p.Roots()).Save(name, b, pcstest.Start()); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir, p.Roots())
	got, err := s.Load(name)
	if err != nil || *got != *b {
		t.Errorf("other bytes came back: %v", err)
	}
	list, err := s.Platforms()
	if err != nil || len(list) != 1 || list[0] != name {
		t.Errorf("platforms %v, %v", list, err)
	}
	data, err := os.ReadFile(s.Path(name))
	if err != nil || string(data) != string(b.Encode()) {
		t.Errorf("the file is no bundle that can be given to others: %v", err)
	}
	other := name
	other.FMSPC[0]++
	if _, err := s.Load(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a platform that was never stored: %v", err)
	}
}

func TestStoreRefusesToGoBack(t *testing.T) {
	p := pcstest.Platform(t)
	lower := measuretest.CollateralSpec{
		Now:     pcstest.Start().Add(2 * pcstest.Day),
		TCBInfo: func(i *measuretest.TCBInfo) { i.TCBEvaluationDataNumber-- },
	}
	mixed := pcstest.Issued(t, p, 2*pcstest.Day)
	mixed.PCKCRL = pcstest.Issued(t, p, -pcstest.Day).PCKCRL
	held := pcstest.Issued(t, p, 0)
	name := pcstest.NameOf(t, held, p.Roots())
	for what, tc := range map[string]struct {
		offered *dcap.Bundle
		want    error
	}{
		"older":                   {pcstest.Issued(t, p, -pcstest.Day), pcs.ErrRollback},
		"lower evaluation number": {pcstest.Bundle(t, p, lower), pcs.ErrRollback},
		"older revocation list":   {mixed, pcs.ErrRollback},
		"same":                    {pcstest.Issued(t, p, 0), nil},
		"newer":                   {pcstest.Issued(t, p, 2*pcstest.Day), nil},
	} {
		t.Run(what, func(t *testing.T) {
			s := openStore(t, t.TempDir(), p.Roots())
			if err := s.Save(name, held, pcstest.Start()); err != nil {
				t.Fatal(err)
			}
			if err := s.Save(name, tc.offered, pcstest.Start().Add(2*pcstest.Day)); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			got, err := s.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if took := *got == *tc.offered; took != (tc.want == nil) {
				t.Errorf("the offered bundle is stored: %v", took)
			}
		})
	}
}

func TestStoreRefusesWhatDoesNotVerify(t *testing.T) {
	p := pcstest.Platform(t)
	good := pcstest.Issued(t, p, 0)
	name := pcstest.NameOf(t, good, p.Roots())
	forged := *good
	forged.TCBInfo = strings.Replace(forged.TCBInfo, "OutOfDate", "UpToDate", 1)
	other := name
	other.FMSPC[5]++
	for what, tc := range map[string]struct {
		platform dcap.Platform
		bundle   *dcap.Bundle
		roots    *dcap.Roots
		now      time.Time
		class    dcap.Class
	}{
		"forged":         {name, &forged, p.Roots(), pcstest.Start(), dcap.ClassCollateralSignature},
		"expired":        {name, good, p.Roots(), pcstest.Start().Add(31 * pcstest.Day), dcap.ClassCollateralExpired},
		"from tomorrow":  {name, good, p.Roots(), pcstest.Start().Add(-pcstest.Day), dcap.ClassCollateralNotYetValid},
		"other root":     {name, good, dcap.IntelRoots(), pcstest.Start(), dcap.ClassRoot},
		"other platform": {other, good, p.Roots(), pcstest.Start(), ""},
	} {
		t.Run(what, func(t *testing.T) {
			s := openStore(t, t.TempDir(), tc.roots)
			err := s.Save(tc.platform, tc.bundle, tc.now)
			if err == nil || dcap.ClassOf(err) != tc.class {
				t.Errorf("got %v of class %q, want %q", err, dcap.ClassOf(err), tc.class)
			}
			if _, err := os.Stat(s.Path(tc.platform)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file was written: %v", err)
			}
		})
	}
}

// What is missing is not damaged, and what cannot be read for reasons of its own stays where it is.
func TestMissingFilesAreNotDamaged(t *testing.T) {
	p := pcstest.Platform(t)
	name := pcstest.NameOf(t, pcstest.Issued(t, p, 0), p.Roots())
	s := openStore(t, t.TempDir(), p.Roots())
	if _, err := s.Load(name); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) {
		t.Errorf("missing: %v", err)
	}
	if err := os.Mkdir(s.Path(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(name); err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := os.Stat(s.Path(name)); err != nil {
		t.Errorf("the folder was moved: %v", err)
	}
}

func TestADamagedFileIsPutAsideAndFetchedAgain(t *testing.T) {
	p := pcstest.Platform(t)
	b := pcstest.Issued(t, p, 0)
	name := pcstest.NameOf(t, b, p.Roots())
	whole := b.Encode()
	others, err := p.BundleWith(measuretest.CollateralSpec{
		Now: pcstest.Start(), TCBInfo: func(i *measuretest.TCBInfo) { i.FMSPC = "00906ea10000" },
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{
		"cut":     whole[:len(whole)/2],
		"empty":   {},
		"changed": []byte(strings.Replace(string(whole), "UpToDate", "Revoked\x20", 1)),
		"longer":  append(append([]byte{}, whole...), whole...),
		"swapped": pcstest.Vector(t, "tdx_quote_collateral").Encode(),
		"huge":    make([]byte, dcap.MaxBundle+1),
		"others'": others.Encode(), // genuine, and of another platform
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir, p.Roots())
			if err := os.WriteFile(s.Path(name), data, 0o644); err != nil {
				t.Fatal(err)
			}
			if list, err := s.Platforms(); err != nil || len(list) != 0 {
				t.Errorf("it is listed: %v, %v", list, err)
			}
			if _, err := s.Load(name); !errors.Is(err, ErrDamaged) {
				t.Fatalf("got %v, want ErrDamaged", err)
			}
			kept, err := os.ReadFile(filepath.Join(dir, rejectedDir, filepath.Base(s.Path(name))))
			if err != nil || len(kept) != len(data) {
				t.Errorf("the file was not kept: %v", err)
			}

			if err := os.WriteFile(s.Path(name), data, 0o644); err != nil {
				t.Fatal(err)
			}
			now := pcstest.NewClock(pcstest.Start())
			cache, _ := host(t, Config{Roots: p.Roots(), Now: now.Read, StoreDir: dir}, pcstest.Serve(t, measuretest.NewService(p)))
			if _, err := cache.Collateral(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Load(name); err != nil || *got != *b {
				t.Errorf("not fetched again: %v", err)
			}
		})
	}
}

func TestStoreIsSharedByProcesses(t *testing.T) {
	p := pcstest.Platform(t)
	dir := t.TempDir()
	bundles := make([]*dcap.Bundle, 8)
	for i := range bundles {
		bundles[i] = pcstest.Issued(t, p, time.Duration(i)*time.Hour)
	}
	name := pcstest.NameOf(t, bundles[0], p.Roots())
	var wg sync.WaitGroup
	for _, b := range bundles {
		wg.Go(func() {
			s, err := OpenStore(dir, p.Roots()) // a store of its own, as another process has
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Save(name, b, pcstest.Start().Add(pcstest.Day)); err != nil && !errors.Is(err, pcs.ErrRollback) {
				t.Error(err)
			}
			if _, err := s.Load(name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := openStore(t, dir, p.Roots()).Load(name)
	if err != nil || *got != *bundles[len(bundles)-1] {
		t.Errorf("the newest did not win: %v", err)
	}
}

func TestALockIsNotWaitedForForever(t *testing.T) {
	p := pcstest.Platform(t)
	s := openStore(t, t.TempDir(), p.Roots())
	f, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	s.lockLimit = 20 * time.Millisecond
	_, err = s.Load(dcap.Platform{})
	pcstest.Contains(t, err, lockName, "another process has held it for 20ms")
}

func TestStoreNeedsAFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := OpenStore(file, dcap.IntelRoots())
	pcstest.Contains(t, err, "opening collateral store", file)
	s := openStore(t, filepath.Join(t.TempDir(), "store"), dcap.IntelRoots())
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Platforms(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := s.Save(pcstest.TDXQuotePlatform(), pcstest.Vector(t, "tdx_quote_collateral"), pcstest.Real()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
