#include "bliss/inference/gather.hpp"

#include "bliss/catalog/ownership.hpp"
#include "bliss/catalog/writer.hpp"
#include "bliss/comm/agree.hpp"
#include "bliss/core/error.hpp"
#include "bliss/inference/field_record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <span>
#include <sstream>

namespace bliss::inference {
namespace {

/// A field that a rank is to write.
struct Item {
    std::int64_t index;
    shard::LocatedEntry located;
};
static_assert(comm::Transferable<Item>);

std::int64_t bytes_of(const Item& item) {
    const auto& bytes = item.located.entry.bytes;
    return std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0});
}

/// @throws DataError for a field without a record
std::vector<Item> items_of(const shard::JournalFolder::Scan& found, const FieldList& fields) {
    std::vector<Item> items;
    for (const FieldId& id : fields.ids()) {
        const auto entry = found.entries.find(id);
        if (entry == found.entries.end()) throw DataError(fmt::format("field {} is in no journal; run again", to_string(id)));
        items.push_back({std::ssize(items), entry->second});
    }
    return items;
}

/// This rank's run of items, with about its share of the bytes.
std::span<const Item> share_of(std::span<const Item> items, int rank, int ranks) {
    std::int64_t total = 0, before = 0;
    for (const Item& item : items) total += bytes_of(item);
    std::vector<std::size_t> begins{0};
    for (std::size_t k = 0; k < items.size(); ++k) {
        // A rank's run ends with the item that fills its share.
        while (std::ssize(begins) < ranks &&
               static_cast<double>(before) >= static_cast<double>(total) * static_cast<double>(begins.size()) / ranks)
            begins.push_back(k);
        before += bytes_of(items[k]);
    }
    begins.resize(static_cast<std::size_t>(ranks) + 1, items.size());
    const auto k = static_cast<std::size_t>(rank);
    return items.subspan(begins[k], begins[k + 1] - begins[k]);
}

/// The records of all fields, known to all ranks: a rank reads its own share, and of the fields around those the places of sources.
class Records {
public:
    /// @param found on rank 0 @collective
    Records(const shard::JournalFolder& journals, const shard::JournalFolder::Scan& found, const FieldList& fields,
            const comm::Communicator& comm)
        : journals_{journals} {
        std::string joined;
        comm::agree_on(comm, [&] {
            if (comm.rank() != 0) return;
            items_ = items_of(found, fields);
            for (const std::string& name : found.names) joined += name + '\n';
        });
        comm.broadcast(items_);
        comm.broadcast(joined);
        std::istringstream lines{joined};
        for (std::string name; std::getline(lines, name);) names_.push_back(name);
    }

    [[nodiscard]] std::span<const Item> items() const { return items_; }

    [[nodiscard]] std::filesystem::path journal_of(const Item& item) const {
        return journals_.path_of(names_[static_cast<std::size_t>(item.located.journal)]);
    }

    /// Where a field's sources are. The last ones asked for are kept: a field is asked for by those around it, one soon after the other.
    std::shared_ptr<const catalog::Places> places_of(std::int64_t field) {
        const auto kept = std::ranges::find(kept_, field, &Kept::field);
        if (kept != kept_.end()) return kept->places;
        const Item& item = items_[static_cast<std::size_t>(field)];
        if (kept_.size() == k_most_kept) kept_.erase(kept_.begin());
        kept_.push_back({field, std::make_shared<catalog::Places>(read_places(journal_of(item), item.located.entry))});
        return kept_.back().places;
    }

private:
    static constexpr std::size_t k_most_kept = 64;
    struct Kept {
        std::int64_t field;
        std::shared_ptr<const catalog::Places> places;
    };

    const shard::JournalFolder& journals_;
    std::vector<Item> items_;
    std::vector<std::string> names_;
    std::vector<Kept> kept_;
};

/// Which field owns which part of the sky. @param mine this rank's share @collective
catalog::Ownership ownership_of(const Records& records, std::span<const Item> mine, const comm::Communicator& comm) {
    std::vector<catalog::FieldCorners> corners;
    comm::agree_on(comm, [&] {
        for (const Item& item : mine) corners.push_back(catalog::corners_of(read_row(records.journal_of(item), item.located.entry)));
    });
    return catalog::Ownership{comm.gather_v(corners)};
}

}  // namespace

Totals gather(const std::filesystem::path& path, const shard::JournalFolder& journals, const shard::JournalFolder::Scan& found,
              const FieldList& fields, const catalog::Provenance& provenance, const comm::Communicator& comm) {
    Records records{journals, found, fields, comm};
    const std::span<const Item> mine = share_of(records.items(), comm.rank(), comm.size());
    const catalog::Ownership ownership = ownership_of(records, mine, comm);
    std::vector<catalog::LocalField> local;
    for (const auto& [index, located] : mine) {
        local.push_back({index, source_count(located.entry), sample_count(located.entry), tile_count(located.entry)});
    }
    const auto places_of = [&](std::int64_t field) { return records.places_of(field); };
    const auto read = [&](const auto& reader, std::size_t i) { return reader(records.journal_of(mine[i]), mine[i].located.entry); };
    std::vector<std::int64_t> totals(2);
    const catalog::RowLoaders load{[&](std::size_t i) {
                                       totals[0] += mine[i].located.entry.status != 0 ? 1 : 0;
                                       totals[1] += local[i].source_count;
                                       return read(read_row, i);
                                   },
                                   [&](std::size_t i) {
                                       std::vector<catalog::SourceRow> rows = read(read_sources, i);
                                       ownership.mark(mine[i].index, rows, places_of);
                                       return rows;
                                   },
                                   [&](std::size_t i) {
                                       std::vector<catalog::SampleRow> rows = read(read_samples, i);
                                       ownership.mark(mine[i].index, rows);
                                       return rows;
                                   },
                                   [&](std::size_t i) { return read(read_tiles, i); }};
    const catalog::ModeCounts mode = catalog::write_catalog(path, comm, local, load, provenance);
    comm.all_reduce_sum(std::span<std::int64_t>{totals});
    return {totals[0], totals[1], mode.primary, mode.rows - mode.primary};
}

}  // namespace bliss::inference
