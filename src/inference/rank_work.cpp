#include "rank_work.hpp"

#include "bliss/core/atomic_file.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/interrupt.hpp"
#include "bliss/inference/field_record.hpp"
#include "bliss/inference/render.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <fstream>
#include <new>
#include <string_view>

namespace bliss::inference {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// A field that could not be used, with its reason.
Cataloguer::Result failed_field(const FieldSource& source, const std::string& reason) {
    spdlog::error("field {} failed: {}", to_string(source.id), reason);
    Cataloguer::Result result;
    result.field.run = source.id.run;
    result.field.camcol = source.id.camcol;
    result.field.field = source.id.field;
    result.field.status = 1;
    catalog::set_text(result.field.band, source.band);
    catalog::set_text(result.field.reason, reason);
    return result;
}

}  // namespace

void RankWork::run(shard::HandOut& hand_out, const shard::JournalFolder& journals, std::int32_t attempt, int rank) {
    Prefetcher fields{hand_out, config_.survey};
    std::unique_ptr<shard::JournalWriter> journal;
    std::ofstream lines;
    auto waiting = Clock::now();
    std::int64_t in_a_row = 0;
    while (const std::optional<ReadField> field = stop_requested() ? std::nullopt : fields.next()) {
        const double wait_s = seconds_since(waiting);
        const auto begin = Clock::now();
        const Cataloguer::Result result = process(*field);
        const auto keeping = Clock::now();
        if (!journal) {
            journal = journals.open(attempt, rank);
            create_output_folder(output_ / k_run_fields);
            lines.open(output_ / k_run_fields / fmt::format("{:05}-{:06}.jsonl", attempt, rank));
        }
        append(*journal, result);
        const auto& t = result.timing;
        const FieldTimes times{.id = field->source.id,
                               .status = result.field.status,
                               .candidates = std::ssize(result.sources),
                               .read_s = field->read_s,
                               .wait_s = wait_s,
                               .prepare_s = t.prepare_s,
                               .detect_s = t.detect_s,
                               .candidates_s = t.candidates_s,
                               .likelihood_s = t.likelihood_s,
                               .classify_s = t.classify_s,
                               .samples_s = t.samples_s,
                               .reconstruct_s = t.reconstruct_s,
                               .keep_s = seconds_since(keeping),
                               .total_s = seconds_since(begin)};
        sums_.add(times);
        lines << line_of(times) << std::endl;  // flushed: a run that is killed tells of its fields, too
        spdlog::info("field {}: {} candidates in {:.2f} s (read in {:.2f} s, of which {:.2f} s were waited for)",
                     to_string(field->source.id), result.sources.size(), times.total_s, field->read_s, wait_s);
        if (result.field.status == 0) {
            in_a_row = 0;
        } else {
            note_failure(*field, result.field, in_a_row);
        }
        waiting = Clock::now();
    }
    sums_.sums.wait_s += seconds_since(waiting);
    ended_ = Clock::now();
}

void RankWork::note_failure(const ReadField& field, const catalog::FieldRow& row, std::int64_t& in_a_row) {
    constexpr std::size_t k_most_told = 100;
    if (failures_.size() < k_most_told) failures_.emplace_back(field.source.id, catalog::text_of(row.reason));
    if (!field.failed_before) ++in_a_row;
    if (most_failures_ == 0 || in_a_row < most_failures_) return;
    // A node that lost its disk or its GPU would fail one field after the other, faster than all others work.
    throw DataError(
        fmt::format("{} fields in a row have failed here, the last: {}; look whether it is the machine's fault: the same "
                    "command goes on and tries failed fields last, --most-failures sets this limit",
                    in_a_row, catalog::text_of(row.reason)));
}

void RankWork::all_ended() {
    sums_.idle_s = seconds_since(ended_);
    sums_.peak_memory_gb = peak_memory_gb();
}

Cataloguer::Result RankWork::process(const ReadField& field) {
    const FieldSource& source = field.source;
    Cataloguer::Result result;
    try {
        if (!field.frame) throw DataError(field.reason);
        result = cataloguer_.catalogue(*field.frame);
        if (config_.reconstruct) write_render(output_ / "reconstruction" / to_string(source.id), *field.frame, result.expected);
    } catch (const MpiError&) {
        throw;
    } catch (const Error& error) {
        result = failed_field(source, error.what());
    } catch (const std::bad_alloc&) {
        result = failed_field(source, "out of memory");
    } catch (const std::filesystem::filesystem_error& error) {
        result = failed_field(source, error.what());
    } catch (const std::exception& error) {  // LibTorch's: its first line says what, the rest is a stack
        const std::string_view text = error.what();
        result = failed_field(source, fmt::format("{}: {}", source.path.string(), text.substr(0, text.find('\n'))));
    }
    return result;
}

}  // namespace bliss::inference
