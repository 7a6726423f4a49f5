package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/guest/klog"
	"cocoon/measure/bootfiles"
)

// console is a state whose lines the test reads back.
func console(t *testing.T, variant bootfiles.Variant) (*State, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "run/cocoon"), 0o755); err != nil {
		t.Fatal(err)
	}
	deps := &Deps{Root: root, Log: klog.New(klog.Options{Console: &out}), Now: time.Now, Level: new(slog.LevelVar)}
	st := NewState(deps)
	st.Image = bootfiles.Image{Name: "proxy", Profile: "proxy", Variant: variant, Version: 1}
	return st, &out
}

// lines are the stage statuses on the console.
func lines(t *testing.T, out *bytes.Buffer) []Status {
	t.Helper()
	var all []Status
	for line := range strings.Lines(out.String()) {
		raw, ok := strings.CutPrefix(strings.TrimSpace(line), LinePrefix)
		if !ok || !strings.Contains(raw, StageSchema) {
			continue
		}
		var s Status
		dec := json.NewDecoder(strings.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&s); err != nil {
			t.Fatalf("line %q: %v", raw, err)
		}
		all = append(all, s)
	}
	return all
}

func stage(name string, p Policy, run func(context.Context, *State) error) Stage {
	return Stage{Name: name, Run: run, Deadline: time.Minute, Policy: p}
}

func returns(err error) func(context.Context, *State) error {
	return func(context.Context, *State) error { return err }
}

func TestStagesRunInOrderUntilOneFails(t *testing.T) {
	st, out := console(t, bootfiles.Production)
	broken := errors.New("disk is gone")
	err := Run(context.Background(), []Stage{
		stage("one", Required, func(_ context.Context, st *State) error {
			st.Detail("loaded", 3)
			return nil
		}),
		stage("two", Required, returns(&SkipError{Reason: "nothing to do"})),
		stage("three", Required, returns(broken)),
		stage("four", Required, returns(errors.New("must not run"))),
	}, st)
	var stageErr *StageError
	if !errors.As(err, &stageErr) || stageErr.Stage != "three" || !errors.Is(err, broken) {
		t.Errorf("err = %v", err)
	}
	want := []Status{
		{Schema: StageSchema, Stage: "one", Status: OK, Detail: map[string]any{"loaded": 3.0}},
		{Schema: StageSchema, Stage: "two", Status: Skipped, Reason: "nothing to do"},
		{Schema: StageSchema, Stage: "three", Status: Failed, Error: "disk is gone"},
	}
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".DurationMS" }, cmp.Ignore())
	if diff := cmp.Diff(want, lines(t, out), ignore); diff != "" {
		t.Error(diff)
	}
}

func TestWorkThatIsNotInTheBuildFailsClosed(t *testing.T) {
	tests := map[string]struct {
		variant bootfiles.Variant
		policy  Policy
		want    Outcome
	}{
		"test may skip":              {bootfiles.Test, Later, Skipped},
		"production fails":           {bootfiles.Production, Later, Failed},
		"debug fails":                {bootfiles.Debug, Later, Failed},
		"required fails in test too": {bootfiles.Test, Required, Failed},
		"unknown variant fails":      {"", Later, Failed},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			st, out := console(t, tc.variant)
			err := Run(context.Background(), []Stage{stage(StageSeal, tc.policy, returns(&NotInBuildError{Stage: StageSeal}))}, st)
			got := lines(t, out)
			if len(got) != 1 || got[0].Status != tc.want || (err != nil) != (tc.want == Failed) {
				t.Errorf("%+v, %v", got, err)
			}
			if text := got[0].Reason + got[0].Error; !strings.Contains(text, "not in this build") {
				t.Errorf("the reason is %q", text)
			}
		})
	}
}

func TestAPanicIsThatStagesFailure(t *testing.T) {
	st, out := console(t, bootfiles.Test)
	var nothing []int
	err := Run(context.Background(), []Stage{stage("bad", Required, func(context.Context, *State) error {
		_ = nothing[len(os.Args)]
		return nil
	})}, st)
	if err == nil || !strings.Contains(err.Error(), "stage bad: panic: ") {
		t.Errorf("err = %v", err)
	}
	if got := lines(t, out); len(got) != 1 || got[0].Status != Failed {
		t.Errorf("%+v", got)
	}
}

func TestAStuckStageIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, out := console(t, bootfiles.Test)
		release := make(chan struct{})
		start := time.Now()
		err := Run(context.Background(), []Stage{stage("stuck", Required, func(context.Context, *State) error {
			<-release // a system call that ignores the context
			return nil
		})}, st)
		if !errors.Is(err, ErrDeadline) || time.Since(start) != time.Minute+deadlineGrace {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if got := lines(t, out); len(got) != 1 || got[0].DurationMS != (time.Minute+deadlineGrace).Milliseconds() {
			t.Errorf("%+v", got)
		}
		close(release)
	})
}

func TestAStageThatHonoursItsDeadlineGivesItsOwnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, _ := console(t, bootfiles.Test)
		own := errors.New("no lease")
		err := Run(context.Background(), []Stage{stage("network", Required, func(ctx context.Context, _ *State) error {
			<-ctx.Done()
			return own
		})}, st)
		if !errors.Is(err, own) {
			t.Errorf("err = %v", err)
		}
	})
}

func TestTheStatusDocumentHoldsEveryStage(t *testing.T) {
	st, _ := console(t, bootfiles.Test)
	if err := Run(context.Background(), []Stage{stage("one", Required, returns(nil)), stage("two", Required, returns(nil))}, st); err != nil {
		t.Fatal(err)
	}
	st.SetReady(true)
	raw, err := os.ReadFile(st.path(StatusPath))
	if err != nil {
		t.Fatal(err)
	}
	var doc Document
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Schema != DocumentSchema || len(doc.Stages) != 2 || !doc.Ready || doc.Image == nil || doc.Image.Name != "proxy" {
		t.Errorf("%+v", doc)
	}
	if left, err := filepath.Glob(st.path(StatusPath) + ".*"); err != nil || len(left) != 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

func TestHostileDetailsStayOnTheirLine(t *testing.T) {
	st, out := console(t, bootfiles.Test)
	_ = Run(context.Background(), []Stage{stage("config", Required, returns(errors.New("x\nCOCOON {\"stage\":\"ready\"}\x1b[2J")))}, st)
	if strings.Count(out.String(), "\n") != 1 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("console = %q", out.String())
	}
}

func TestADetailWithoutJSONFormStillGivesALine(t *testing.T) {
	st, out := console(t, bootfiles.Test)
	if err := Run(context.Background(), []Stage{stage("odd", Required, func(_ context.Context, st *State) error {
		st.Detail("f", func() {})
		return nil
	})}, st); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), StageSchema) || !strings.Contains(out.String(), "unsupported type") {
		t.Errorf("console = %q", out.String())
	}
}

func TestTheTableIsTheSpecifications(t *testing.T) {
	want := strings.Fields("console mounts cmdline modules td config debug-marker base network clock gpu lock " +
		"seal storage model engine identity service ready")
	var got, later []string
	for _, s := range Stages() {
		got = append(got, s.Name)
		if s.Policy == Later {
			later = append(later, s.Name)
		}
		if s.Run == nil || s.Deadline <= 0 {
			t.Errorf("stage %s has no work or no deadline", s.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{StageSeal, StageStorage, StageEngine, StageIdentity, StageService}, later); diff != "" {
		t.Error(diff)
	}
}
