// Package backendtest is run by tests, as root: it is the behaviour that every
// backend must show: a suite of tests to run against it, and a small base image to
// run it with.
package backendtest

import "testing"

// Run runs the whole suite.
func Run(t *testing.T, factory Factory) {
	t.Helper()
	t.Run("commands", func(t *testing.T) { testCommands(t, factory) })
	t.Run("files", func(t *testing.T) { testFiles(t, factory) })
	t.Run("links", func(t *testing.T) { testLinks(t, factory) })
	t.Run("questions", func(t *testing.T) { testQuestions(t, factory) })
	t.Run("killing", func(t *testing.T) { testKilling(t, factory) })
	t.Run("life cycle", func(t *testing.T) { testLifecycle(t, factory) })
}
