#include "rank_work.hpp"

#include "bliss/core/error.hpp"
#include "bliss/core/interrupt.hpp"
#include "bliss/inference/render.hpp"
#include "bliss/inference/field_record.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
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
    auto waiting = Clock::now();
    while (const std::optional<ReadField> field = stop_requested() ? std::nullopt : fields.next()) {
        const Cataloguer::Result result = process(*field, seconds_since(waiting));
        if (!journal) journal = journals.open(attempt, rank);
        append(*journal, result);
        waiting = Clock::now();
    }
    wait_s_ += seconds_since(waiting);
}

Cataloguer::Result RankWork::process(const ReadField& field, double wait_s) {
    const auto start = Clock::now();
    const FieldSource& source = field.source;
    Cataloguer::Result result;
    try {
        if (!field.frame) throw DataError(field.reason);
        result = cataloguer_.catalogue(*field.frame);
        if (config_.reconstruct) write_render(reconstructions_ / to_string(source.id), *field.frame, result.expected);
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
    const double seconds = seconds_since(start);
    const auto& t = result.timing;
    report_.push_back({{"index", field.index},
                       {"field", to_string(source.id)},
                       {"status", result.field.status},
                       {"reason", catalog::text_of(result.field.reason)},
                       {"candidates", result.sources.size()},
                       {"read_s", field.read_s},
                       {"wait_s", wait_s},
                       {"prepare_s", t.prepare_s},
                       {"detect_s", t.detect_s},
                       {"candidates_s", t.candidates_s},
                       {"likelihood_s", t.likelihood_s},
                       {"classify_s", t.classify_s},
                       {"samples_s", t.samples_s},
                       {"reconstruct_s", t.reconstruct_s},
                       {"total_s", seconds}});
    work_s_ += seconds;
    wait_s_ += wait_s;
    spdlog::info("field {}: {} candidates in {:.2f} s (read in {:.2f} s, of which {:.2f} s were waited for)", to_string(source.id),
                 result.sources.size(), seconds, field.read_s, wait_s);
    return result;
}

}  // namespace bliss::inference
