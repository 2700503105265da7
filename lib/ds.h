/*
 * ds.h - the public header of libds.a: every room's door
 *
 * Documents flow one way: io -> token -> chunk -> model -> {archive, task} -> find.  The doors' own
 * headers tell shapes, units and errors; nothing in the library prints, exits or keeps global
 * state, but for the list of temporaries that ds_out_unlink_all() removes.
 */
#ifndef DS_H
#define DS_H

#include "archive/archive.h"
#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "base/pool.h"
#include "chunk/chunk.h"
#include "find/find.h"
#include "frame/frame.h"
#include "gguf/gguf.h"
#include "mix/mix.h"
#include "model/lm.h"
#include "model/model.h"
#include "search/search.h"
#include "task/classify.h"
#include "task/generate.h"
#include "task/outline.h"
#include "task/score.h"
#include "token/token.h"

#endif
