//go:build !linux

package store

func tmpfsChild() {}
