package buildd_test

import (
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
)

func TestABuilderThatNeverRanKeepsNothing(t *testing.T) {
	report, err := buildd.Launcher{Stock: []string{"false"}}.AskStock(t.Context(), state.Folder(t.TempDir()), job.StockRequest{})
	if err != nil || len(report.Stock) > 0 {
		t.Errorf("got %+v, %v", report, err)
	}
}
