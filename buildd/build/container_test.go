package build

import "testing"

// What is on another machine does not go with the reset of this one.
func TestFastCleanupIsForWhatIsOnThisMachine(t *testing.T) {
	for target, want := range map[target]bool{nil: true, &container{}: true, &container{remote: true}: false} {
		if resets(target) != want {
			t.Errorf("%+v: got %v", target, !want)
		}
	}
}
