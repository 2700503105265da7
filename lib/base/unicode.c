/*
 * unicode.c - the tables behind unicode.h
 */
#include "base/unicode.h"

#include "base/unicode_table.h"
